// gameforge bench: what generation costs on this machine, measured through the ABI as any host would.
#include "commands.hpp"
#include "host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace command {
namespace {

struct Options {
  EngineChoice engine;
  std::string prompt = "a red potion";
  std::optional<std::string> sampler;
  std::optional<std::uint32_t> width, height, steps, repeat;
  bool json = false;
};

/// Least and middle of some times; the least is what the machine can do, the middle what it does.
Json summary(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = values.size();
  const double median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {{"min", values.front()}, {"median", median}};
}

void bench_pipeline(const Options& options) {
  const auto repeat = options.repeat ? given_or_default(options.repeat, "repeat", 100000) : 5;
  gf_request request = GF_REQUEST_INIT;
  request.width_px = given_or_default(options.width, "width", 8192);
  request.height_px = given_or_default(options.height, "height", 8192);
  request.steps = given_or_default(options.steps, "steps", 1000);
  request.sampler = options.sampler ? options.sampler->c_str() : nullptr;
  request.prompt = options.prompt.c_str();
  request.seed = 1;

  Engine engine(options.engine);
  request.model = engine.model().c_str();
  const double load_began = seconds_now();
  engine.check(engine.load());
  const double load_s = seconds_now() - load_began;
  const auto resident_loaded = peak_resident_bytes();

  std::vector<double> wall, step, encode, decode;
  double first_s = 0;
  Json report;
  gf_job_info info = GF_JOB_INFO_INIT;
  // The first one is apart: it allocates what the others find.
  for (std::uint32_t i = 0; i <= repeat; ++i) {
    const double began = seconds_now();
    const auto finished = engine.run(request);
    engine.check(finished);
    const auto image = engine.image(finished.job, 0);
    const double took = seconds_now() - began;
    info = finished.info;
    report = engine.report(finished.job);
    check(gf_job_forget(engine.get(), &finished.job));
    if (i == 0) {
      first_s = took;
      continue;
    }
    const auto steps = report.at("request").at("steps").get<double>();
    wall.push_back(took);
    step.push_back(static_cast<double>(info.sample_us) / 1e6 / steps);
    encode.push_back(static_cast<double>(info.encode_us) / 1e6);
    decode.push_back(static_cast<double>(info.decode_us) / 1e6);
  }

  const Json result = {{"bench", "pipeline"},
                       {"version", gf_version_text()},
                       {"model", engine.model()},
                       {"width", info.width_px},
                       {"height", info.height_px},
                       {"steps", report.at("request").at("steps")},
                       {"threads", report.value("threads", Json())},
                       {"repeat", repeat},
                       {"load_s", load_s},
                       {"first_asset_s", first_s},
                       {"asset_s", summary(wall)},
                       {"step_s", summary(step)},
                       {"encode_s", summary(encode)},
                       {"decode_s", summary(decode)},
                       {"peak_rss_bytes", peak_resident_bytes()},
                       {"peak_rss_after_load_bytes", resident_loaded}};
  if (options.json) return print_json(result);
  std::printf("%s, %ux%u, %d steps, %u pictures\n", engine.model().c_str(), info.width_px, info.height_px,
              result.at("steps").get<int>(), repeat);
  const auto row = [&result](const char* name, const char* key) {
    const auto& value = result.at(key);
    if (value.is_number()) {
      std::printf("%-24s %10.4f s\n", name, value.get<double>());
    } else {
      std::printf("%-24s %10.4f s   median %.4f s\n", name, value.at("min").get<double>(),
                  value.at("median").get<double>());
    }
  };
  row("loading", "load_s");
  row("first picture", "first_asset_s");
  row("picture, least", "asset_s");
  row("prompt, least", "encode_s");
  row("step, least", "step_s");
  row("decoding, least", "decode_s");
  std::printf("%-24s %10.1f MiB\n", "peak memory", static_cast<double>(peak_resident_bytes()) / (1 << 20));
}

}  // namespace

void add_bench(CLI::App& app, Chosen& chosen) {
  auto* bench = app.add_subcommand("bench", "Measures what generation costs on this machine");
  bench->require_subcommand(1);
  auto* pipeline =
      bench->add_subcommand("pipeline", "Load, prompt, steps, decoding and the whole asset, with peak memory");
  auto options = std::make_shared<Options>();
  options->engine.add_to(*pipeline, true);
  pipeline->add_option("--width", options->width, "Pixels; the model's own size if it is not given")->type_name("N");
  pipeline->add_option("--height", options->height, "Pixels; likewise")->type_name("N");
  pipeline->add_option("--steps", options->steps, "Sampler steps; the model's own number if it is not given")
      ->type_name("N");
  pipeline->add_option("--sampler", options->sampler, "euler, \"Euler a\", ...")->type_name("NAME");
  pipeline->add_option("--prompt", options->prompt, "What to draw")->capture_default_str()->type_name("T");
  pipeline
      ->add_option("--repeat", options->repeat, "Assets that are measured, after one that is not; 5 if it is not given")
      ->type_name("N");
  pipeline->add_flag("--json", chosen.json, "One JSON line");
  pipeline->footer(
      "load_s: from nothing to a loaded model. asset_s: one picture with a loaded model, from submit to pixels.\n"
      "step_s: one sampler step, a run's mean; min and median are over the runs. peak_rss_bytes: of the process.\n"
      "\n"
      "Examples:\n"
      "  gameforge bench pipeline\n"
      "  gameforge bench pipeline --threads 1 --steps 20 --repeat 9 --json");
  bench->footer(
      "Examples:\n"
      "  gameforge bench pipeline --json");
  on_chosen(*pipeline, chosen, [&chosen, options] {
    options->json = chosen.json;
    bench_pipeline(*options);
  });
}

}  // namespace command
