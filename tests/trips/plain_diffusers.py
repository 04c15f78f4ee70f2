"""One picture with plain diffusers and nothing of negtui: the daemon's pictures must come out of this too, pixel for pixel on a CPU.

    python plain_diffusers.py --base DIR --refiner DIR --adapter DIR --prompt "..." --negative "..." --seed 1 --guidance 5 \
        --steps 25 --split 0.8 --size 64 --out picture.png

Without --negative there is no negative prompt; without --refiner the base paints to the end. Pictures on a CPU are the same for the same
number of threads: set OMP_NUM_THREADS as the daemon has it.
"""

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--refiner")
    parser.add_argument("--adapter", help="folder of a pytorch_lora_weights.safetensors, or such a file")
    parser.add_argument("--adapter-weight", type=float, default=1.0)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--negative")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--split", type=float, default=0.8)
    parser.add_argument("--size", type=int, default=64, help="width and height in pixels")
    parser.add_argument("--out", required=True)
    given = parser.parse_args()

    generator = torch.Generator("cpu").manual_seed(given.seed)
    words = {"prompt": given.prompt, "negative_prompt": given.negative}
    settings = {"num_inference_steps": given.steps, "guidance_scale": given.guidance, "generator": generator}

    base = StableDiffusionXLPipeline.from_pretrained(given.base, torch_dtype=torch.float32, add_watermarker=False)
    if given.adapter:
        path = Path(given.adapter)
        folder, name = (path, "pytorch_lora_weights.safetensors") if path.is_dir() else (path.parent, path.name)
        base.load_lora_weights(str(folder), weight_name=name, adapter_name="negative")
        base.set_adapters(["negative"], [given.adapter_weight])
    size = {"width": given.size, "height": given.size}
    if given.refiner:
        latents = base(**words, **settings, **size, denoising_end=given.split, output_type="latent").images
        refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(given.refiner, torch_dtype=torch.float32, add_watermarker=False)
        image = refiner(**words, **settings, image=latents, denoising_start=given.split).images[0]
    else:
        image = base(**words, **settings, **size).images[0]
    image.save(given.out)


if __name__ == "__main__":
    main()
