// gameforge generate: pictures from a prompt.
#include "commands.hpp"
#include "files.hpp"
#include "host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace command {
namespace {

struct Options {
  EngineChoice engine;
  std::string prompt;
  std::optional<std::string> prompt_2, negative, negative_2, sampler;
  std::optional<std::uint32_t> width, height, steps, count, upscale;
  std::optional<double> cfg;
  std::optional<std::uint64_t> seed;
  std::string init_latents, save_latents, out;
  std::vector<std::string> loras;
  bool lenient_loras = false;
  std::optional<std::uint32_t> clip_skip;
  bool plain_prompt = false;
  std::string long_prompt = "chunks";
  std::string tile;
  std::optional<double> eta, strength;
  std::string init_image, mask, noise;
  bool transparent = false;
  std::optional<std::uint64_t> memory_budget;
  bool memory_may_change_pixels = false;
  bool json = false;
};

struct Latents {
  std::vector<float> values;
  std::uint32_t shape[4] = {};
};

Latents read_latents(const std::string& path) {
  Latents latents;
  std::uint64_t count = 0;
  check(gf_latents_read(path.c_str(), nullptr, &count, latents.shape));
  latents.values.resize(count);
  check(gf_latents_read(path.c_str(), latents.values.data(), &count, latents.shape));
  return latents;
}

/// NAME or NAME:SCALE of --lora, as the ABI takes them.
struct Loras {
  std::vector<std::string> names;
  std::vector<const char*> texts;
  std::vector<double> scales;

  explicit Loras(const std::vector<std::string>& given) {
    for (const auto& text : given) {
      const auto colon = text.rfind(':');
      double scale = 1;
      if (colon != std::string::npos) {
        const auto* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, scale);
        if (error != std::errc() || stop != end) {
          throw Failure{GF_ERR_INVALID_ARGUMENT, fmt::format("--lora is {}; write NAME or NAME:SCALE", text)};
        }
      }
      names.push_back(text.substr(0, colon));
      scales.push_back(scale);
    }
    for (const auto& name : names) texts.push_back(name.c_str());
  }
};

Image read_picture(const std::string& path) {
  gf_image* image = nullptr;
  if (!path.empty()) check(gf_image_read_png(path.c_str(), &image));
  return Image(image);
}

const char* text_or_null(const std::optional<std::string>& text) { return text ? text->c_str() : nullptr; }

/// What the model draws behind its subject, for gf_image_key_background; the border's colour where it does not say.
gf_key_options key_options(const Json& model) {
  gf_key_options key = GF_KEY_OPTIONS_INIT;
  const auto background = model.find("background");
  if (background == model.end() || !background->is_object()) {
    key.use_border = 1;
    key.tolerance = 16;
    return key;
  }
  const auto rgb = background->at("rgb").get<std::vector<std::uint32_t>>();
  key.red = rgb.at(0);
  key.green = rgb.at(1);
  key.blue = rgb.at(2);
  key.tolerance = background->value("tolerance", 16u);
  return key;
}

/// The last latents of every image that is ready, as one tensor.
void save_latents(const Engine& engine, const Engine::Finished& finished, const std::string& path, const Json& model) {
  const auto factor = model.at("vae_factor").get<std::uint32_t>();
  const auto height = finished.info.height_px / factor, width = finished.info.width_px / factor;
  std::vector<float> values;
  std::uint64_t each = 0;
  for (std::uint32_t i = 0; i < finished.info.images_ready; ++i) {
    check(gf_job_latents(engine.get(), &finished.job, i, nullptr, &each));
    values.resize(values.size() + each);
    check(gf_job_latents(engine.get(), &finished.job, i, values.data() + (values.size() - each), &each));
  }
  const std::uint32_t shape[4] = {finished.info.images_ready,
                                  static_cast<std::uint32_t>(each / (std::uint64_t{height} * width)), height, width};
  check(gf_latents_write(path.c_str(), values.data(), shape));
}

/// Makes the picture in one step, so that what libtorch takes once is taken, gives the model back, and answers what the
/// process then holds; its peak counts from there.
std::uint64_t warmed_up(Engine& engine, gf_request request) {
  request.steps = 1;
  request.image_count = 1;
  request.flags &= ~static_cast<std::uint32_t>(GF_REQUEST_KEEP_LATENTS);
  request.initial_latents = nullptr;
  request.initial_latent_count = 0;
  request.strength = request.init_image == nullptr ? request.strength : 1;
  engine.check(engine.run(request));
  check(gf_engine_request_memory(engine.get(), 0, UINT64_MAX, 10'000'000, nullptr));
  (void)forget_peak_resident_bytes();  // Else the peak is the process's, which is no less.
  return resident_bytes();
}

void generate(const Options& options) {
  // Everything that can be refused is refused before the model is touched.
  const auto upscale = given_or_default(options.upscale, "upscale", 64);
  gf_request request = GF_REQUEST_INIT;
  request.width_px = given_or_default(options.width, "width", 8192);
  request.height_px = given_or_default(options.height, "height", 8192);
  request.steps = given_or_default(options.steps, "steps", 1000);
  request.image_count = given_or_default(options.count, "count", 256);
  if (options.cfg) {
    // Written so that NaN is refused too.
    if (!(*options.cfg >= 1 && *options.cfg <= 100)) {
      throw Failure{GF_ERR_INVALID_ARGUMENT, fmt::format("--cfg is {}; it must be 1 to 100", *options.cfg)};
    }
    request.cfg_scale = *options.cfg;
  }
  if (options.seed) {
    request.seed = *options.seed;
  } else {
    request.flags |= GF_REQUEST_RANDOM_SEED;
  }
  if (!options.save_latents.empty()) {
    request.flags |= GF_REQUEST_KEEP_LATENTS;
    check_writable(options.save_latents);
  }
  for (std::uint32_t i = 0, count = std::max(1u, request.image_count); i < count; ++i) {
    check_writable(picture_path(options.out, options.prompt, request.seed + i, i, count));
  }

  Engine engine(options.engine);
  request.model = engine.model().c_str();
  request.prompt = options.prompt.c_str();
  request.prompt_2 = text_or_null(options.prompt_2);
  request.negative_prompt = text_or_null(options.negative);
  request.negative_prompt_2 = text_or_null(options.negative_2);
  request.sampler = text_or_null(options.sampler);
  const Loras loras(options.loras);
  request.lora_names = loras.texts.data();
  request.lora_scales = loras.scales.data();
  request.lora_count = static_cast<std::uint32_t>(loras.texts.size());
  if (options.lenient_loras) request.flags |= GF_REQUEST_LENIENT_LORA;
  request.clip_skip = options.clip_skip.value_or(0);
  request.prompt_syntax = options.plain_prompt ? GF_PROMPT_PLAIN : GF_PROMPT_WEIGHTED;
  request.long_prompt = options.long_prompt == "cut"      ? GF_LONG_PROMPT_CUT
                        : options.long_prompt == "refuse" ? GF_LONG_PROMPT_REFUSE
                                                          : GF_LONG_PROMPT_CHUNKS;
  for (const char axis : options.tile) request.tile |= axis == 'x' ? GF_TILE_X : GF_TILE_Y;
  request.eta = options.eta.value_or(0);
  if (options.strength) {
    // Here 0 is no default, as it is in the ABI.
    if (!(*options.strength > 0 && *options.strength <= 1)) {
      throw Failure{GF_ERR_INVALID_ARGUMENT,
                    fmt::format("--strength is {}; it must be above 0 and at most 1", *options.strength)};
    }
    request.strength = *options.strength;
  }
  const auto init_image = read_picture(options.init_image);
  const auto mask = read_picture(options.mask);
  request.init_image = init_image.get();
  request.mask = mask.get();
  if (options.noise == "philox") request.noise = GF_NOISE_PHILOX;

  Json model;
  if (options.transparent || !options.save_latents.empty() || !options.init_latents.empty())
    model = engine.model_info();
  Latents initial;
  if (!options.init_latents.empty()) {
    initial = read_latents(options.init_latents);
    request.initial_latents = initial.values.data();
    request.initial_latent_count = initial.values.size();
    // The file knows what it is for, and the command line may not say otherwise.
    const auto factor = model.at("vae_factor").get<std::uint32_t>();
    if (request.image_count == 0) request.image_count = initial.shape[0];
    if (request.height_px == 0) request.height_px = initial.shape[2] * factor;
    if (request.width_px == 0) request.width_px = initial.shape[3] * factor;
    const std::uint32_t needed[4] = {request.image_count, model.at("latent_channels").get<std::uint32_t>(),
                                     request.height_px / factor, request.width_px / factor};
    if (!std::equal(std::begin(needed), std::end(needed), std::begin(initial.shape))) {
      const auto shown = [](const std::uint32_t(&shape)[4]) {
        return fmt::format("[{}, {}, {}, {}]", shape[0], shape[1], shape[2], shape[3]);
      };
      throw Failure{
          GF_ERR_INVALID_ARGUMENT,
          fmt::format("{}: `latents` is {}; {} pictures of {}x{} need {}", options.init_latents, shown(initial.shape),
                      request.image_count, request.width_px, request.height_px, shown(needed))};
    }
  }

  if (options.memory_may_change_pixels) request.flags |= GF_REQUEST_MEMORY_MAY_CHANGE_PIXELS;
  std::optional<std::uint64_t> warm_bytes;
  if (options.memory_budget) {
    check(gf_engine_set_memory_budget(engine.get(), 0, *options.memory_budget));
    if (options.json) warm_bytes = warmed_up(engine, request);
  }

  const double began = seconds_now();
  const auto finished = engine.run(request);
  const bool cancelled = finished.info.status == GF_ERR_CANCELLED;
  if (!cancelled || finished.info.images_ready == 0) engine.check(finished);

  Json files = Json::array();
  for (std::uint32_t i = 0; i < finished.info.images_ready; ++i) {
    auto image = engine.image(finished.job, i);
    if (options.transparent) {
      const auto key = key_options(model);
      gf_image* keyed = nullptr;
      check(gf_image_key_background(image.get(), &key, &keyed));
      image = Image(keyed);
    }
    // After the key, which then looks at the pixels as the model drew them and at fewer of them.
    if (upscale > 1) {
      gf_image* larger = nullptr;
      check(gf_image_upscale(image.get(), upscale, &larger));
      image = Image(larger);
    }
    const auto parameters = text_of([&](char* buffer, std::uint64_t* size) {
      return gf_job_parameters_text(engine.get(), &finished.job, i, buffer, size);
    });
    gf_png_options png = GF_PNG_OPTIONS_INIT;
    png.parameters = parameters.c_str();
    const auto info = image.describe();
    const auto path = picture_path(options.out, options.prompt, info.seed, i, finished.info.image_count);
    check(gf_image_write_png(image.get(), &png, path.c_str()));
    files.push_back({{"file", path}, {"seed", info.seed}, {"width", info.width_px}, {"height", info.height_px}});
    if (!options.json)
      std::printf("%s  %ux%u  seed %llu\n", path.c_str(), info.width_px, info.height_px,
                  static_cast<unsigned long long>(info.seed));
  }
  if (!options.save_latents.empty()) {
    save_latents(engine, finished, options.save_latents, model);
    if (!options.json) std::printf("%s  latents\n", options.save_latents.c_str());
  }
  const double seconds = seconds_now() - began;
  const auto resident_peak = peak_resident_bytes();

  const auto& info = finished.info;
  if (options.json) {
    const auto id =
        text_of([&](char* buffer, std::uint64_t* size) { return gf_job_id_text(&finished.job, buffer, size); });
    Json line = {{"job", id},
                 {"status", gf_status_name(info.status)},
                 {"model", engine.model()},
                 {"prompt", options.prompt},
                 {"seed", info.seed},
                 {"width", info.width_px},
                 {"height", info.height_px},
                 {"images", files},
                 {"seconds", seconds},
                 {"timings",
                  {{"queue_s", static_cast<double>(info.queue_us) / 1e6},
                   {"load_s", static_cast<double>(info.load_us) / 1e6},
                   {"encode_s", static_cast<double>(info.encode_us) / 1e6},
                   {"sample_s", static_cast<double>(info.sample_us) / 1e6},
                   {"decode_s", static_cast<double>(info.decode_us) / 1e6},
                   {"total_s", static_cast<double>(info.total_us) / 1e6}}},
                 {"peak_memory_bytes", peak_resident_bytes()},
                 {"report", engine.report(finished.job)}};
    if (!options.save_latents.empty()) line["latents_file"] = options.save_latents;
    if (options.memory_budget) {
      line["memory"] = {{"budget_bytes", *options.memory_budget},
                        {"ledger_peak_bytes", line["report"].at("memory").at("ledger_peak_bytes")},
                        {"resident_before_bytes", *warm_bytes},
                        {"resident_peak_bytes", resident_peak}};
    }
    print_json(line);
  } else {
    std::printf("%.2f s: loading %.2f, prompt %.2f, steps %.2f, decoding %.2f\n", seconds,
                static_cast<double>(info.load_us) / 1e6, static_cast<double>(info.encode_us) / 1e6,
                static_cast<double>(info.sample_us) / 1e6, static_cast<double>(info.decode_us) / 1e6);
  }
  if (cancelled) {
    throw Failure{GF_ERR_CANCELLED,
                  fmt::format("cancelled after {} of {} images", info.images_ready, info.image_count)};
  }
}

}  // namespace

void add_generate(CLI::App& app, Chosen& chosen) {
  auto* generate_command = app.add_subcommand("generate", "Makes pictures from a prompt and writes them as PNG files");
  auto options = std::make_shared<Options>();
  auto& add = *generate_command;
  add.add_option("prompt", options->prompt, "What to draw")->required()->type_name("PROMPT");
  options->engine.add_to(add, true);
  add.add_option("--negative", options->negative, "What not to draw")->type_name("T");
  add.add_option("--prompt2", options->prompt_2,
                 "Prompt of the second text encoder (SDXL); the same if it is not given")
      ->type_name("T");
  add.add_option("--negative2", options->negative_2, "Negative prompt of the second text encoder")->type_name("T");
  add.add_option("--width", options->width, "Pixels; the model's own size if it is not given")->type_name("N");
  add.add_option("--height", options->height, "Pixels; likewise")->type_name("N");
  add.add_option("--steps", options->steps, "Sampler steps, 1 to 1000; the model's own number if it is not given")
      ->type_name("N");
  add.add_option("--cfg", options->cfg, "CFG scale, 1 (no guidance) to 100: how closely to follow the prompt")
      ->type_name("F");
  add.add_option("--sampler", options->sampler, "euler, \"Euler a\", ...: as diffusers, webui or ComfyUI call it")
      ->type_name("NAME");
  add.add_option_function<std::string>(
         "--seed",
         [options](const std::string& text) {
           if (text == "-1") return;  // As stable-diffusion-webui's users write "any".
           std::uint64_t seed = 0;
           const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
           if (error != std::errc() || end != text.data() + text.size()) {
             throw CLI::ValidationError("--seed is " + text + "; it must be 0 to 18446744073709551615, or -1 for any");
           }
           options->seed = seed;
         },
         "The same seed gives the same picture; drawn and printed if it is not given, or -1")
      ->type_name("N");
  add.add_option("--count", options->count, "Pictures, 1 to 256, with the seeds N, N+1, ...; files get _0, _1, ...")
      ->type_name("N");
  add.add_flag("--transparent", options->transparent, "Clears the flat background, from the border inwards");
  add.add_option("--upscale", options->upscale, "Enlarges each pixel to a square of N, 1 to 64, after --transparent")
      ->type_name("N");
  add.add_option("--lora", options->loras,
                 "A LoRA of the model's folder loras, with its scale; several times for several. <lora:NAME:SCALE> in "
                 "the prompt does the same")
      ->type_name("NAME[:SCALE]")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add.add_flag("--lenient-lora", options->lenient_loras,
               "Keys of a LoRA that fit nothing are warned about in the report, and are no error");
  add.add_option("--init-image", options->init_image, "Begins from this PNG, of the pictures' size")
      ->type_name("F.png");
  add.add_option("--mask", options->mask, "With --init-image: paints anew where this PNG is white")->type_name("F.png");
  add.add_option("--strength", options->strength,
                 "With --init-image: the share of the steps that is done, above 0 to 1; 0.75 if it is not given")
      ->type_name("F");
  add.add_option("--clip-skip", options->clip_skip, "Text encoder layers left out, as in diffusers: webui's less 1")
      ->type_name("N");
  add.add_flag("--plain-prompt", options->plain_prompt,
               "Brackets and BREAK in prompts are text; else (a), [a] and (a:1.3) weigh as in webui");
  add.add_option("--long-prompt", options->long_prompt,
                 "Of more than 75 tokens: chunks (as webui), cut (as diffusers, with a warning in the report), refuse")
      ->check(CLI::IsMember({"chunks", "cut", "refuse"}))
      ->type_name("HOW");
  add.add_option("--tile", options->tile,
                 "Makes a picture that joins itself: side by side (x), one below the other (y), or both (xy)")
      ->check(CLI::IsMember({"x", "y", "xy"}))
      ->type_name("AXES");
  add.add_option("--eta", options->eta, "DDIM's noise, 0 to 1")->type_name("F");
  add.add_option("--noise", options->noise, "torch (diffusers' pictures) or philox (CUDA's, which most seeds assume)")
      ->check(CLI::IsMember({"torch", "philox"}))
      ->type_name("KIND");
  add.add_option("--init-latents", options->init_latents,
                 "Starts from this noise: safetensors with `latents`, float32 [n, 4, h/f, w/f], standard normal")
      ->type_name("F");
  add.add_option("--save-latents", options->save_latents,
                 "Writes the last latents, still times the VAE's scaling factor")
      ->type_name("F");
  add.add_option("--memory-budget", options->memory_budget,
                 "What weights and tensors may take at a time; with --json a one-step picture is made before, and the "
                 "line tells what was taken, by our count and the system's")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("BYTES (96MiB, 2GB)");
  add.add_flag("--memory-may-change-pixels", options->memory_may_change_pixels,
               "Where memory is short the picture may be decoded in tiles, which gives other pixels");
  add.add_option("--out", options->out,
                 "A PNG file, or a folder; if it is not given, a name made of prompt and seed in the current folder")
      ->type_name("PATH");
  add.add_flag("--json", chosen.json, "One JSON line: files, seed, times, peak memory, and the job's whole report");
  add.footer(
      "The PNG carries the recipe as text \"parameters\", which stable-diffusion-webui, exiftool and Pillow read.\n"
      "Ctrl-C cancels; pictures that were finished before are written.\n"
      "\n"
      "Examples:\n"
      "  gameforge generate \"a red potion\" --out potion.png\n"
      "  gameforge generate \"a blue rune\" --seed 3 --count 4 --out runes/\n"
      "  gameforge generate \"a golden shield\" --transparent --upscale 8 --out shield.png\n"
      "  gameforge generate \"an old book\" --model ./my-sdxl --width 1024 --height 1024 --sampler \"Euler a\" --json");
  on_chosen(*generate_command, chosen, [&chosen, options] {
    options->json = chosen.json;
    generate(*options);
  });
}

}  // namespace command
