"""The contract between clients, front and worker: msgspec structs only. `README.md` beside this file is the authority."""
