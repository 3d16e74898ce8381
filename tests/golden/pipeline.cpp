// Golden cases of whole runs: prompts to pixels, with the latents after every step.
#include "case.hpp"
#include "torch/run.hpp"

#include <fmt/format.h>

#include <set>

namespace golden {
namespace {

/// The i-th of a list, or the value that stands for all.
const gf::Json& pick(const gf::Json& value, std::size_t i) { return value.is_array() ? value.at(i) : value; }

std::optional<std::string> text_at(const gf::Json& params, const char* key, std::size_t i) {
  if (!params.contains(key)) return std::nullopt;
  return pick(params.at(key), i).get<std::string>();
}

std::optional<gf::torch::SizeConditioning> sizes_of(const gf::Json& params, const std::string& prefix) {
  if (!params.contains(prefix + "original_size")) return std::nullopt;
  const auto pair = [&](const char* key, int which) {
    return params.at(prefix + key).at(static_cast<std::size_t>(which)).get<std::int64_t>();
  };
  return gf::torch::SizeConditioning{pair("original_size", 0),         pair("original_size", 1),
                                     pair("crops_coords_top_left", 0), pair("crops_coords_top_left", 1),
                                     pair("target_size", 0),           pair("target_size", 1)};
}

}  // namespace

std::optional<std::string> pipeline_skip_reason(const Case& golden) {
  const auto& params = golden.params();
  static const std::set<std::string> modes = {"txt2img", "img2img", "inpaint"};
  if (!modes.contains(params.at("mode"))) return params.at("mode").get<std::string>() + " is not built yet";
  auto scheduler_json = params.at("scheduler_config");
  scheduler_json["_class_name"] = params.at("scheduler");
  const auto scheduler = gf::torch::read_scheduler_config(scheduler_json, "scheduler_config");
  if (scheduler.has_value() && !gf::torch::default_sampler(scheduler.value()).exact) {
    return params.at("scheduler").get<std::string>() + " is not built yet";
  }
  static const std::set<std::string> known = {"model",
                                              "single_file",
                                              "mode",
                                              "scheduler",
                                              "scheduler_config",
                                              "prompt",
                                              "prompt_2",
                                              "negative_prompt",
                                              "negative_prompt_2",
                                              "num_inference_steps",
                                              "guidance_scale",
                                              "guidance_rescale",
                                              "seed",
                                              "clip_skip",
                                              "strength",
                                              "num_images_per_prompt",
                                              "height",
                                              "width",
                                              "share_of_image_values_clamped",
                                              "original_size",
                                              "target_size",
                                              "crops_coords_top_left",
                                              "negative_original_size",
                                              "negative_target_size",
                                              "negative_crops_coords_top_left"};
  for (const auto& [key, unused] : params.items()) {
    if (!known.contains(key)) return key + " is not built yet";
  }
  return std::nullopt;
}

Outcome run_pipeline(const Case& golden) {
  const auto& params = golden.params();
  const auto loaded = model(params.at("model"));
  if (!loaded.has_value()) return Outcome::fail(loaded.error().message);
  const auto& model = *loaded.value();
  auto scheduler_json = params.at("scheduler_config");
  scheduler_json["_class_name"] = params.at("scheduler");
  const auto scheduler = gf::torch::read_scheduler_config(scheduler_json, "scheduler_config");
  if (!scheduler.has_value()) return Outcome::fail(scheduler.error().message);

  // One run an image: what a batch gives must not depend on its size.
  const std::size_t prompt_count = params.at("prompt").is_array() ? params.at("prompt").size() : 1;
  const auto per_prompt = params.value("num_images_per_prompt", std::size_t{1});
  const std::size_t count = prompt_count * per_prompt;
  std::vector<at::Tensor> embeddings, pooled, negative_embeddings, negative_pooled, final_latents, images;
  std::vector<std::vector<at::Tensor>> trajectories;
  Outcome outcome;
  for (std::size_t i = 0; i < count; ++i) {
    gf::torch::Prompts prompts;
    const auto text = i / per_prompt;
    prompts.prompt = *text_at(params, "prompt", text);
    prompts.prompt_2 = text_at(params, "prompt_2", text);
    prompts.negative = text_at(params, "negative_prompt", text);
    prompts.negative_2 = text_at(params, "negative_prompt_2", text);
    prompts.longer = gf::torch::LongPrompt::cut;
    prompts.clip_skip = params.value("clip_skip", std::int64_t{0});
    const auto scale = params.at("guidance_scale").get<double>();
    prompts.guidance = scale > 1;
    auto encoded = model.encode(prompts, call());
    if (!encoded.has_value()) return Outcome::fail(encoded.error().message);
    const auto& conditioning = encoded.value();
    const auto batch = prompts.guidance ? 2 : 1;
    const bool first_of_prompt = i % per_prompt == 0;
    if (first_of_prompt) embeddings.push_back(conditioning.positive[0]);
    if (first_of_prompt && conditioning.pooled.defined()) pooled.push_back(conditioning.pooled[batch - 1]);
    if (first_of_prompt && prompts.guidance) {
      negative_embeddings.push_back(conditioning.negative[0]);
      if (conditioning.pooled.defined()) negative_pooled.push_back(conditioning.pooled[0]);
    }

    gf::torch::RunOptions options;
    options.width = params.at("width").get<std::int64_t>();
    options.height = params.at("height").get<std::int64_t>();
    options.steps = params.at("num_inference_steps").get<std::int64_t>();
    options.cfg_scale = scale;
    options.guidance_rescale = params.value("guidance_rescale", 0.0);
    options.sampler = gf::torch::default_sampler(scheduler.value()).name;
    options.scheduler = scheduler.value();
    if (params.contains("seed")) options.seed = pick(params.at("seed"), i).get<std::uint64_t>();
    options.sizes =
        sizes_of(params, "")
            .value_or(gf::torch::SizeConditioning{options.height, options.width, 0, 0, options.height, options.width});
    options.negative_sizes = sizes_of(params, "negative_");
    const auto row = static_cast<std::int64_t>(i);
    if (golden.has_input("latents")) options.initial_latents = golden.input("latents").narrow(0, row, 1);
    if (golden.has_input("image")) {
      options.image = golden.input("image").narrow(0, row, 1) * 2 - 1;
      options.strength = params.at("strength").get<double>();
      options.initial_latents = golden.input("init_noise").narrow(0, row, 1);
      options.vae_noise = golden.input("vae_noise").narrow(0, row, 1);
      if (golden.has_input("mask")) options.mask = golden.input("mask").narrow(0, row, 1);
    }
    std::int64_t draws = 0;
    if (golden.has_input("step_noise")) {
      options.step_noise = [&golden, &draws, row](double, double) {
        return golden.input("step_noise")[draws++].narrow(0, row, 1);
      };
    }
    auto started = gf::torch::Run::start(model, conditioning, std::move(options), call());
    if (!started.has_value()) return Outcome::fail(started.error().message);
    auto& run = *started.value();
    trajectories.emplace_back();
    while (run.done() < run.steps()) {
      const auto stepped = run.step(call());
      if (!stepped.has_value()) return Outcome::fail(stepped.error().message);
      trajectories.back().push_back(run.latents());
    }
    const auto image = run.decode(call());
    if (!image.has_value()) return Outcome::fail(image.error().message);
    final_latents.push_back(run.latents());
    images.push_back(image.value());
  }
  golden.compare(outcome, "prompt_embeds", at::stack(embeddings));
  if (!pooled.empty()) golden.compare(outcome, "pooled_prompt_embeds", at::stack(pooled));
  if (!negative_embeddings.empty()) golden.compare(outcome, "negative_prompt_embeds", at::stack(negative_embeddings));
  if (!negative_pooled.empty()) golden.compare(outcome, "negative_pooled_prompt_embeds", at::stack(negative_pooled));
  std::vector<at::Tensor> steps;
  for (std::size_t step = 0; step < trajectories.front().size(); ++step) {
    std::vector<at::Tensor> batch;
    for (const auto& trajectory : trajectories) batch.push_back(trajectory[step]);
    steps.push_back(at::cat(batch, 0));
  }
  golden.compare(outcome, "trajectory", at::stack(steps));
  golden.compare(outcome, "latents", at::cat(final_latents, 0));
  golden.compare(outcome, "image", at::cat(images, 0));
  return outcome;
}

}  // namespace golden
