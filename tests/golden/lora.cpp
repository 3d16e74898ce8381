// Golden cases of LoRA: weights changed by files, then one call of the UNet, the prompt's embedding and a whole run;
// and files that must not load quietly.
#include "case.hpp"
#include "torch/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace golden {
namespace {

gf::Result<std::unique_ptr<gf::torch::Model>> patched(const gf::torch::Model& base,
                                                      const std::vector<std::pair<std::string, double>>& files,
                                                      bool strict, std::vector<std::string>& warnings) {
  std::vector<gf::torch::LoraUse> uses;
  for (const auto& [path, scale] : files) {
    GF_TRY(auto file, gf::torch::LoraFile::open(host(), gf::join_path(root(), path), call()));
    uses.push_back({std::move(file), scale});
  }
  return base.with_loras(std::move(uses), strict, call(), warnings);
}

void run_with(const Case& golden, const gf::torch::Model& model, const std::string& prefix, Outcome& outcome) {
  const auto& params = golden.params();
  gf::torch::Prompts prompts;
  prompts.prompt = params.at("prompt").get<std::string>();
  prompts.negative = params.at("negative_prompt").get<std::string>();
  auto encoded = model.encode(prompts, call());
  if (!encoded.has_value()) {
    outcome.problems.push_back(encoded.error().message);
    return;
  }
  const auto& conditioning = encoded.value();
  golden.compare(outcome, prefix + "prompt_embeds", conditioning.positive);
  if (conditioning.pooled.defined()) {
    golden.compare(outcome, prefix + "pooled_prompt_embeds", conditioning.pooled.narrow(0, 1, 1));
  }
  const auto optional = [&](const char* name) { return golden.has_input(name) ? golden.input(name) : at::Tensor(); };
  const auto unet = model.use_unet(call()).value();
  const auto context = unet->context({golden.input("encoder_hidden_states")});
  const auto timestep = at::full({1}, params.at("unet_timestep").get<double>());
  const auto times = unet->times(timestep, optional("text_embeds"), optional("time_ids"), 1);
  golden.compare(outcome, prefix + "unet_output", unet->forward(golden.input("sample"), times, 0, context));
  if (!golden.expects(prefix + "latents")) return;

  gf::torch::RunOptions options;
  options.width = params.at("width");
  options.height = params.at("height");
  options.steps = params.at("num_inference_steps");
  options.cfg_scale = params.at("guidance_scale");
  options.scheduler = model.scheduler();
  options.scheduler.class_name = params.at("scheduler");
  options.sampler = gf::torch::default_sampler(options.scheduler).name;
  options.sizes = {options.height, options.width, 0, 0, options.height, options.width};
  options.initial_latents = golden.input("latents");
  auto started = gf::torch::Run::start(model, conditioning, std::move(options), call());
  if (!started.has_value()) {
    outcome.problems.push_back(started.error().message);
    return;
  }
  auto& run = *started.value();
  while (run.done() < run.steps()) {
    const auto stepped = run.step(call());
    if (!stepped.has_value()) {
      outcome.problems.push_back(stepped.error().message);
      return;
    }
  }
  golden.compare(outcome, prefix + "latents", run.latents());
  if (golden.expects(prefix + "image")) golden.compare(outcome, prefix + "image", run.decode(call()).value());
}

}  // namespace

Outcome run_lora(const Case& golden) {
  const auto& params = golden.params();
  const auto loaded = model(params.at("model"));
  if (!loaded.has_value()) return Outcome::fail(loaded.error().message);
  const auto& base = *loaded.value();
  Outcome outcome;
  for (const auto& use : params.at("uses")) {
    std::string prefix;
    std::size_t variants = 1;
    for (const auto& one : use) {
      prefix += fmt::format("{}{:g}", prefix.empty() ? "scale" : "+", one.at("scale").get<double>());
      variants = std::max(variants, params.at("lora_files").at(one.at("lora").get<std::string>()).size());
    }
    prefix += ".";
    // The same LoRA in another trainer's form gives the same; so does another order of the files.
    for (std::size_t variant = 0; variant < variants; ++variant) {
      for (const bool reversed : {false, true}) {
        std::vector<std::pair<std::string, double>> files;
        for (const auto& one : use) {
          const auto& forms = params.at("lora_files").at(one.at("lora").get<std::string>());
          files.emplace_back(forms.at(std::min(variant, forms.size() - 1)), one.at("scale").get<double>());
        }
        if (reversed && files.size() == 1) continue;
        if (reversed) std::reverse(files.begin(), files.end());
        std::vector<std::string> warnings;
        const auto with = patched(base, files, true, warnings);
        if (!with.has_value()) return Outcome::fail(with.error().message);
        run_with(golden, *with.value(), prefix, outcome);
      }
    }
  }
  return outcome;
}

Outcome run_lora_error(const Case& golden) {
  const auto& params = golden.params();
  const auto loaded = model(params.at("model"));
  if (!loaded.has_value()) return Outcome::fail(loaded.error().message);
  const std::string path = params.at("lora_file");
  std::vector<std::string> warnings;
  const auto with = patched(*loaded.value(), {{path, 1.0}}, true, warnings);
  if (with.has_value()) return Outcome::fail(path + " was taken");
  const auto& error = with.error();
  Outcome outcome;
  if (error.message.find(path) == std::string::npos)
    outcome.problems.push_back("the file is not named: " + error.message);
  const auto status = static_cast<int>(error.status);
  if (status < 100 || status >= 500) outcome.problems.push_back(fmt::format("status {}", status));
  for (const auto& key : params.at("offending_keys")) {
    // A half that is missing is named by its module.
    auto name = key.get<std::string>();
    if (params.at("expected_outcome").get<std::string>().find("names the module") != std::string::npos) {
      name = name.substr(0, name.find('.'));
    }
    const auto names = [&](const auto& cause) { return cause.message.find(name) != std::string::npos; };
    if (error.message.find(name) == std::string::npos &&
        std::none_of(error.causes.begin(), error.causes.end(), names)) {
      outcome.problems.push_back(fmt::format("{} is not named: {}", name, error.message));
    }
  }
  return outcome;
}

}  // namespace golden
