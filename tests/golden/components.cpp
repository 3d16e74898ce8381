// Golden cases of single parts: tokenizer, random numbers, encoders, UNet, VAE, schedulers.
#include "case.hpp"
#include "torch/noise.hpp"
#include "torch/run.hpp"
#include "torch/samplers/sampler.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace golden {
namespace {

using gf::torch::Model;

Outcome tokenizer(const Case& golden) {
  Outcome outcome;
  const auto text = gf::read_text(golden.file(golden.params().at("prompts_file")), 16 << 20);
  if (!text.has_value()) return Outcome::fail(text.error().message);
  const auto prompts = gf::parse_json(text.value(), "prompts");
  if (!prompts.has_value()) return Outcome::fail(prompts.error().message);
  const auto make = [&](const char* key) {
    const auto folder = gf::join_path(root(), golden.params().at(key).get<std::string>());
    gf::torch::Tokenizer::Files files;
    files.vocabulary_path = folder + "/vocab.json";
    files.merges_path = folder + "/merges.txt";
    files.config_path = folder + "/tokenizer_config.json";
    files.vocabulary = gf::read_text(files.vocabulary_path, 64 << 20).value();
    files.merges = gf::read_text(files.merges_path, 64 << 20).value();
    files.config = gf::read_text(files.config_path, 64 << 20).value();
    return gf::torch::Tokenizer::make(files);
  };
  for (const auto& [key, name] : {std::pair("tokenizer", "ids_pad_eos"), std::pair("tokenizer_2", "ids_pad_zero")}) {
    const auto made = make(key);
    if (!made.has_value()) return Outcome::fail(made.error().message);
    const auto wanted = golden.expected(name);
    auto ids = at::empty_like(wanted);
    std::int64_t row = 0;
    for (const auto& prompt : *prompts.value()) {
      const auto encoded = made.value().encode(prompt.at("text").get<std::string>(), 77);
      const auto tensor = at::tensor(encoded, at::kLong);
      if (!at::equal(tensor, wanted[row])) {
        outcome.problems.push_back(
            fmt::format("{}: row {} differs: {}", name, row, prompt.at("text").dump().substr(0, 120)));
      }
      ids[row++].copy_(tensor);
    }
    golden.compare(outcome, name, ids);
  }
  return outcome;
}

/// "1x4x8x8" to a shape.
std::vector<std::int64_t> shape_of(std::string_view text) {
  std::vector<std::int64_t> shape(1);
  for (const char c : text) {
    if (c == 'x')
      shape.push_back(0);
    else
      shape.back() = shape.back() * 10 + (c - '0');
  }
  return shape;
}

Outcome random_numbers(const Case& golden) {
  Outcome outcome;
  for (const auto& name : golden.expected_names()) {
    const auto dot = name.find('.');
    const auto seed = std::stoull(name.substr(1, dot - 1));
    const auto what = name.substr(dot + 1);
    auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    const auto options = at::TensorOptions().dtype(at::kFloat);
    at::Tensor drawn;
    if (what == "f16_64") {
      drawn = at::randn({64}, generator, options.dtype(at::kHalf));
    } else if (what.starts_with("list_of_2_")) {
      const auto shape = shape_of(what.substr(10));
      auto second = at::make_generator<at::CPUGeneratorImpl>(seed + 1);
      drawn = at::cat({at::randn(shape, generator, options), at::randn(shape, second, options)}, 0);
    } else if (what.starts_with("two_calls_")) {
      const auto then = what.find("_then_");
      const auto first = at::randn(shape_of(what.substr(10, then - 10)), generator, options);
      drawn = at::cat({first, at::randn(shape_of(what.substr(then + 6)), generator, options)}, 0);
    } else {
      drawn = at::randn(shape_of(what), generator, options);
    }
    golden.compare(outcome, name, drawn);
  }
  return outcome;
}

Outcome image_bytes(const Case& golden) {
  Outcome outcome;
  const auto image = golden.input("image_01");
  std::vector<std::uint8_t> rgba(static_cast<std::size_t>(image.size(2) * image.size(3) * 4));
  gf::torch::write_rgba(image, rgba);
  const auto pixels = at::from_blob(rgba.data(), {1, image.size(2), image.size(3), 4}, at::kByte).narrow(3, 0, 3);
  golden.compare(outcome, "bytes", pixels);
  return outcome;
}

Outcome text_encoder(const Case& golden, const Model& model) {
  Outcome outcome;
  const std::size_t part = golden.params().at("component") == "text_encoder_2" ? 1 : 0;
  if (part >= model.text().size()) return Outcome::fail("the model has no such encoder");
  const auto used = model.use_text(part, call());
  if (!used) return Outcome::fail(used.error().message);
  const auto& encoder = *used.value();
  const auto states = encoder.forward(golden.input("input_ids"));
  const auto& penultimate = states.hidden[states.hidden.size() - 2];
  golden.compare(outcome, "embeddings", states.hidden.front());
  golden.compare(outcome, "last_layer_before_final_norm", states.hidden.back());
  golden.compare(outcome, "last_hidden_state", states.last);
  golden.compare(outcome, "penultimate", penultimate);
  golden.compare(outcome, "penultimate_then_final_norm", encoder.final_norm(penultimate));
  golden.compare(outcome, "pooled", states.pooled);
  golden.compare(outcome, "pooled_projected", states.pooled);
  return outcome;
}

Outcome unet_forward(const Case& golden, Model& model) {
  Outcome outcome;
  const auto used = model.use_unet(call());
  if (!used) return Outcome::fail(used.error().message);
  auto& unet = *used.value();
  const auto sample = golden.input("sample");
  std::map<std::string, at::Tensor> probed;
  unet.set_probe([&](const std::string& name, const at::Tensor& output) { probed[name] = output.clone(); });
  const auto optional = [&](const char* name) { return golden.has_input(name) ? golden.input(name) : at::Tensor(); };
  const auto context = unet.context({golden.input("encoder_hidden_states")});
  const auto times =
      unet.times(golden.input("timestep").reshape({1}), optional("text_embeds"), optional("time_ids"), sample.size(0));
  const auto output = unet.forward(sample, times, 0, context);
  unet.set_probe({});
  for (const auto& [name, tensor] : probed) {
    if (!golden.expects(name)) continue;
    // The time embedding is computed once for the batch, of which the reference repeats the rows.
    golden.compare(outcome, name,
                   tensor.dim() == 2 && tensor.size(0) == 1 ? tensor.expand(golden.expected(name).sizes()) : tensor);
  }
  golden.compare(outcome, "output", output);
  return outcome;
}

Outcome vae(const Case& golden, const Model& model) {
  Outcome outcome;
  const auto used = model.use_decoder(call());
  if (!used) return Outcome::fail(used.error().message);
  const auto& vae = *used.value();
  const auto decoded = vae.decode(golden.input("latents_scaled"));
  golden.compare(outcome, "decoded", decoded);
  golden.compare(outcome, "decoded_01", decoded.div(2).add(0.5).clamp(0, 1));
  const auto encoded = vae.encode(golden.input("image"));
  const auto deviation = (encoded.log_variance * 0.5).exp();
  golden.compare(outcome, "mean", encoded.mean);
  golden.compare(outcome, "logvar", encoded.log_variance);
  golden.compare(outcome, "std", deviation);
  golden.compare(outcome, "sampled_scaled",
                 (encoded.mean + deviation * golden.input("noise")) * vae.config().scaling_factor);
  return outcome;
}

Outcome philox_noise(const Case& golden) {
  Outcome outcome;
  for (const auto& entry : golden.params().at("seeds")) {
    const auto text = entry.get<std::string>();
    const auto seed = std::stoull(text);
    gf::torch::Noise noise(gf::torch::NoiseKind::philox, seed);
    for (std::uint32_t calls = 0; calls < 3; ++calls) {
      const auto name = fmt::format("s{}.call{}", text, calls);
      golden.compare(outcome, name, noise.draw({256}));
      auto words = at::empty({4, 256}, at::kLong);
      for (std::uint32_t i = 0; i < 256; ++i) {
        const auto drawn = gf::torch::philox(
            {calls, 0, i, 0}, {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
        for (std::size_t row = 0; row < 4; ++row) {
          words.index_put_({static_cast<std::int64_t>(row), static_cast<std::int64_t>(i)},
                           static_cast<std::int64_t>(drawn[row]));
        }
      }
      golden.compare(outcome, name + ".u32x4", words);
    }
  }
  return outcome;
}

Outcome scheduler(const Case& golden) {
  Outcome outcome;
  auto json = golden.params().at("config");
  json["_class_name"] = golden.params().at("scheduler");
  const auto config = gf::torch::read_scheduler_config(json, "config");
  if (!config.has_value()) return Outcome::fail(config.error().message);
  const auto name = gf::torch::default_sampler(config.value()).name;
  for (const auto& count : golden.params().at("steps")) {
    const auto steps = count.get<std::int64_t>();
    const auto prefix = fmt::format("n{}.", steps);
    // The case of DDIM with eta says so in its description alone.
    const double eta = golden.description().find("eta = 1.") != std::string::npos ? 1 : 0;
    auto made = gf::torch::make_sampler(name, {config.value(), steps, eta});
    if (!made.has_value()) return Outcome::fail(made.error().message);
    auto& sampler = *made.value();
    if (golden.expects(prefix + "sigmas")) golden.compare(outcome, prefix + "sigmas", at::tensor(sampler.sigmas()));
    golden.compare(outcome, prefix + "timesteps", at::tensor(sampler.timesteps()));
    golden.compare(outcome, prefix + "init_noise_sigma", at::tensor(std::vector<float>{sampler.init_noise_sigma()}));
    const auto noise = golden.input(prefix + "noise0");
    auto x = noise * sampler.init_noise_sigma();
    std::int64_t draws = 0;
    const auto source = [&](double, double) { return golden.input(prefix + "step_noise")[draws++]; };
    std::vector<at::Tensor> trajectory;
    std::vector<at::Tensor> scaled;
    for (std::size_t i = 0; i < sampler.calls(); ++i) {
      const auto input = sampler.scale_input(x, i);
      if (i < 2) scaled.push_back(input);
      const auto output = 0.7 * input.tanh() + 0.1 * std::sin(sampler.timesteps()[i] / 100);
      x = sampler.step(x, output, i, source);
      trajectory.push_back(x);
    }
    golden.compare(outcome, prefix + "scaled_input_first_two", at::stack(scaled));
    golden.compare(outcome, prefix + "trajectory", at::stack(trajectory));
    golden.compare(outcome, prefix + "final", x);
    if (golden.expects(prefix + "add_noise")) {
      const auto index = golden.expected(prefix + "add_noise_at_index").item<std::int64_t>();
      golden.compare(outcome, prefix + "add_noise",
                     sampler.add_noise(golden.input(prefix + "clean"), noise, static_cast<std::size_t>(index)));
    }
  }
  return outcome;
}

}  // namespace

std::optional<std::string> component_skip_reason(const Case& golden) {
  if (golden.kind() != "scheduler") return std::nullopt;
  auto json = golden.params().at("config");
  json["_class_name"] = golden.params().at("scheduler");
  const auto config = gf::torch::read_scheduler_config(json, "config");
  if (!config.has_value() || gf::torch::default_sampler(config.value()).exact) return std::nullopt;
  return golden.params().at("scheduler").get<std::string>() + " is not built yet";
}

Outcome run_component(const Case& golden) {
  const auto kind = golden.kind();
  if (kind == "tokenizer") return tokenizer(golden);
  if (kind == "rng_torch_cpu") return random_numbers(golden);
  if (kind == "rng_philox") return philox_noise(golden);
  if (kind == "image_bytes") return image_bytes(golden);
  if (kind == "scheduler") return scheduler(golden);
  const auto loaded = model(golden.params().at("model"));
  if (!loaded.has_value()) return Outcome::fail(loaded.error().message);
  if (kind == "text_encoder") return text_encoder(golden, *loaded.value());
  if (kind == "unet_forward") return unet_forward(golden, *loaded.value());
  return vae(golden, *loaded.value());
}

}  // namespace golden
