#!/usr/bin/env python3
"""Times diffusers on a model folder: the other side of `gameforge bench pipeline`. Prints one JSON line.

Eager, float32, on the CPU: load, whole assets, seconds a step and decode, the minimum and the median of the repetitions.
"""
import argparse
import json
import os
import resource
import statistics
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a diffusers folder")
    parser.add_argument("--prompt", default="a red potion")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--height", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", help="writes the last picture here")
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

    import diffusers
    import torch

    torch.set_num_threads(arguments.threads)
    diffusers.logging.set_verbosity_error()
    begin = time.perf_counter()
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(arguments.model, torch_dtype=torch.float32)
    load = time.perf_counter() - begin
    pipe.set_progress_bar_config(disable=True)

    step_times: list[float] = []
    marks: list[float] = []

    def mark(_pipe, _step, _timestep, kwargs):
        marks.append(time.perf_counter())
        return kwargs

    decode_times: list[float] = []
    decode = pipe.vae.decode

    def timed_decode(*args, **kwargs):
        started = time.perf_counter()
        result = decode(*args, **kwargs)
        decode_times.append(time.perf_counter() - started)
        return result

    pipe.vae.decode = timed_decode
    assets = []
    image = None
    for i in range(arguments.repeat + 1):  # The first one warms up.
        marks.clear()
        generator = torch.Generator("cpu").manual_seed(i)
        started = time.perf_counter()
        image = pipe(arguments.prompt, width=arguments.width, height=arguments.height, num_inference_steps=arguments.steps,
                     guidance_scale=arguments.cfg, generator=generator, callback_on_step_end=mark).images[0]
        took = time.perf_counter() - started
        if i > 0:
            assets.append(took)
            step_times += [b - a for a, b in zip(marks, marks[1:])]
    if arguments.out:
        image.save(arguments.out)

    def spread(values):
        return {"min": min(values), "median": statistics.median(values)}

    print(json.dumps({
        "name": "diffusers", "version": diffusers.__version__, "torch": torch.__version__, "threads": arguments.threads,
        "steps": arguments.steps, "width": arguments.width, "height": arguments.height, "load_s": load,
        "asset_s": spread(assets), "step_s": spread(step_times), "decode_s": spread(decode_times[1:]),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))


if __name__ == "__main__":
    main()
