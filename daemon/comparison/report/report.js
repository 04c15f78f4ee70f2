"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const viewer = byId("viewer"), keys = byId("keys"), stage = byId("stage"), over = byId("over"), under = byId("under");
  const holder = byId("blocks"), words = byId("words"), order = byId("order"), range = byId("range");
  const every = [...holder.children];
  const buttons = [...byId("arms-of-block").children];
  const placebo = buttons.findIndex((button) => button.textContent.trim().endsWith("placebo"));
  let shown = every, at = 0, arm = buttons.length - 1, pinned = Math.max(0, placebo);
  if (pinned === arm) pinned = 0;

  const clamp = (value, least, most) => Math.max(least, Math.min(most, value));
  const picture = (block, number) => block.querySelectorAll("img")[number];

  function go(to, quietly) {
    if (!shown.length) return;
    shown[at]?.classList.remove("current");
    at = clamp(to, 0, shown.length - 1);
    shown[at].classList.add("current");
    if (!quietly) shown[at].scrollIntoView({ block: "nearest", behavior: viewer.open ? "instant" : "auto" });
    if (viewer.open) paint();
    else if (!quietly) shown[at].focus({ preventScroll: true });
  }

  function paint() {
    const block = shown[at], front = picture(block, arm), back = picture(block, pinned);
    over.src = front.src; over.alt = front.alt;
    under.src = back.src; under.alt = back.alt;
    byId("tag-left").textContent = back.dataset.arm;
    byId("tag-right").textContent = front.dataset.arm;
    byId("viewer-prompt").textContent = `${block.dataset.prompt} (seed ${block.dataset.seed})`;
    byId("viewer-place").textContent = `${at + 1} of ${shown.length}`;
    buttons.forEach((button, number) => {
      button.setAttribute("aria-pressed", String(number === arm));
      button.toggleAttribute("data-pinned", number === pinned);
    });
  }

  function open(number) {
    if (!shown.length) return;
    if (number !== undefined) arm = number;
    if (!viewer.open) viewer.showModal();
    go(at);
  }

  function flick(by) {
    if (viewer.open) arm = (arm + by + buttons.length) % buttons.length;
    open();
  }

  function slide() {
    const was = viewer.classList.contains("sliding") && viewer.open;
    viewer.classList.toggle("sliding", !was);
    if (arm === pinned) arm = pinned ? 0 : buttons.length - 1;
    open();
  }

  function cut(percent) {
    range.value = String(clamp(percent, 0, 100));
    viewer.style.setProperty("--cut", `${range.value}%`);
  }

  function pin() {
    pinned = arm;
    if (viewer.open) paint();
  }

  function choose() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const gain = (block) => Number(block.dataset.gain ?? 0);
    const sign = { best: -1, worst: 1 }[order?.value] ?? 0;
    const sorted = sign ? [...every].sort((one, other) => sign * (gain(one) - gain(other))) : every;
    for (const block of sorted) {
      const prompt = block.dataset.prompt.toLowerCase();
      block.hidden = !wanted.every((word) => prompt.includes(word));
      block.classList.remove("current");
      holder.append(block);
    }
    shown = sorted.filter((block) => !block.hidden);
    at = 0;
    byId("count").textContent = shown.length === every.length ? `${every.length} blocks` : `${shown.length} of ${every.length} blocks`;
  }

  function theme() {
    const root = document.documentElement;
    const now = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  }

  const actions = {
    ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), k: () => go(at - 1), j: () => go(at + 1),
    " ": (event) => flick(event.shiftKey ? -1 : 1), s: slide, p: pin, t: theme,
    Home: () => go(0), End: () => go(shown.length - 1),
    ",": () => cut(Number(range.value) - 5), ".": () => cut(Number(range.value) + 5),
    "/": () => { viewer.close(); words.focus(); },
    "?": () => keys.open ? keys.close() : keys.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target;
    if (on.matches("input[type=search], select")) {
      if (event.key === "Escape" || event.key === "Enter") on.blur();
      return;
    }
    if (on === range && event.key.startsWith("Arrow")) return;
    if (on.matches("button, summary, a") && [" ", "Enter"].includes(event.key) && !viewer.contains(on)) return;
    if (keys.open && event.key !== "?") return;
    const number = "123456789".indexOf(event.key);
    const act = actions[event.key] ?? (number >= 0 && number < buttons.length && event.key ? () => open(number) : null);
    if (!act) return;
    event.preventDefault();
    act(event);
  });

  holder.addEventListener("click", (event) => {
    const block = event.target.closest(".block");
    if (!block) return;
    go(shown.indexOf(block), true);
    if (event.target.matches("img")) open([...block.querySelectorAll("img")].indexOf(event.target));
  });
  buttons.forEach((button, number) => button.addEventListener("click", () => open(number)));
  byId("viewer-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => go(at));
  byId("help").addEventListener("click", () => keys.showModal());
  byId("theme").addEventListener("click", theme);
  words.addEventListener("input", choose);
  order?.addEventListener("change", choose);
  range.addEventListener("input", () => cut(Number(range.value)));
  const drag = (event) => {
    if (!viewer.classList.contains("sliding") || !event.buttons) return;
    const box = stage.getBoundingClientRect();
    cut((100 * (event.clientX - box.left)) / box.width);
  };
  stage.addEventListener("pointerdown", drag);
  stage.addEventListener("pointermove", drag);
})();
