// gameforge sheet: a contact sheet, each prompt of a file with several seeds.
#include "commands.hpp"
#include "files.hpp"
#include "host.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace command {
namespace {

struct Options {
  EngineChoice engine;
  std::string prompts, out, atlas;
  std::optional<std::string> negative, sampler;
  std::optional<std::uint32_t> seeds, columns, width, height, steps, upscale;
  std::optional<double> cfg;
  std::uint32_t gap = 2;
  bool json = false;
};

constexpr std::size_t most_images = 4096;  // Of gf_image_grid.

/// Where the pictures lie on the sheet, as Aseprite's atlas tells it: each named after its prompt and seed.
std::string atlas_of(const Options& options, const std::vector<std::string>& prompts, std::uint32_t seeds,
                     std::uint32_t columns, std::uint32_t upscale, const gf_image_info& picture,
                     const gf_image_info& sheet) {
  std::vector<std::string> names;
  std::vector<const char*> texts;
  std::vector<gf_sheet_frame> frames;
  for (std::uint32_t i = 0; i < prompts.size() * seeds; ++i) {
    names.push_back(fmt::format("{} {}", prompts[i / seeds], i % seeds));
    gf_sheet_frame frame = {};
    frame.x = (options.gap + i % columns * (picture.width_px + options.gap)) * upscale;
    frame.y = (options.gap + i / columns * (picture.height_px + options.gap)) * upscale;
    frame.width_px = frame.source_width_px = picture.width_px * upscale;
    frame.height_px = frame.source_height_px = picture.height_px * upscale;
    frames.push_back(frame);
  }
  for (const auto& name : names) texts.push_back(name.c_str());
  const auto image_name = std::filesystem::path(options.out).filename().string();
  gf_atlas_options atlas = GF_ATLAS_OPTIONS_INIT;
  atlas.image_name = image_name.c_str();
  atlas.names = texts.data();
  return text_of([&](char* buffer, std::uint64_t* size) {
    return gf_atlas_json(frames.data(), static_cast<std::uint32_t>(frames.size()), sheet.width_px, sheet.height_px,
                         &atlas, buffer, size);
  });
}

/// The lines of a file that are no comments and not empty.
std::vector<std::string> read_prompts(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Failure{GF_ERR_NOT_FOUND, fmt::format("{}: the file of prompts could not be opened", path)};
  std::vector<std::string> prompts;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const auto first = line.find_first_not_of(" \t");
    if (first == std::string::npos || line[first] == '#') continue;
    prompts.push_back(line.substr(first));
  }
  if (prompts.empty()) throw Failure{GF_ERR_INVALID_ARGUMENT, fmt::format("{}: it holds no prompt", path)};
  return prompts;
}

void make_sheet(const Options& options) {
  const auto prompts = read_prompts(options.prompts);
  const auto seeds = std::max(1u, given_or_default(options.seeds, "seeds", 256));
  if (prompts.size() * seeds > most_images) {
    throw Failure{GF_ERR_INVALID_ARGUMENT, fmt::format("{} prompts with {} seeds are {} pictures; a sheet holds {}",
                                                       prompts.size(), seeds, prompts.size() * seeds, most_images)};
  }
  const auto count = static_cast<std::uint32_t>(prompts.size() * seeds);
  auto columns = given_or_default(options.columns, "columns", count);
  if (columns == 0) columns = seeds;  // A row a prompt.
  const auto upscale = given_or_default(options.upscale, "upscale", 64);
  gf_request request = GF_REQUEST_INIT;
  request.width_px = given_or_default(options.width, "width", 8192);
  request.height_px = given_or_default(options.height, "height", 8192);
  request.steps = given_or_default(options.steps, "steps", 1000);
  if (options.cfg) {
    if (!(*options.cfg >= 1 && *options.cfg <= 100)) {
      throw Failure{GF_ERR_INVALID_ARGUMENT, fmt::format("--cfg is {}; it must be 1 to 100", *options.cfg)};
    }
    request.cfg_scale = *options.cfg;
  }
  request.image_count = seeds;
  request.seed = 0;
  request.sampler = options.sampler ? options.sampler->c_str() : nullptr;
  request.negative_prompt = options.negative ? options.negative->c_str() : nullptr;
  check_writable(options.out);
  if (!options.atlas.empty()) check_writable(options.atlas);

  Engine engine(options.engine);
  request.model = engine.model().c_str();
  const double began = seconds_now();
  std::vector<Image> images;
  for (const auto& prompt : prompts) {
    request.prompt = prompt.c_str();
    const auto finished = engine.run(request);
    engine.check(finished);
    for (std::uint32_t i = 0; i < seeds; ++i) images.push_back(engine.image(finished.job, i));
    check(gf_job_forget(engine.get(), &finished.job));
    if (!options.json) std::printf("%s\n", prompt.c_str());
  }

  std::vector<gf_image*> handles;
  handles.reserve(images.size());
  for (const auto& image : images) handles.push_back(image.get());
  gf_image* laid_out = nullptr;
  check(gf_image_grid(handles.data(), count, columns, options.gap, 0x1A1C22FF, &laid_out));
  Image sheet(laid_out);
  if (upscale > 1) {
    gf_image* larger = nullptr;
    check(gf_image_upscale(sheet.get(), upscale, &larger));
    sheet = Image(larger);
  }
  const auto info = sheet.describe();
  std::string atlas;  // Before anything is written: a prompt that is there twice is refused.
  if (!options.atlas.empty()) {
    atlas = atlas_of(options, prompts, seeds, columns, std::max(1u, upscale), images.front().describe(), info);
  }
  check(gf_image_write_png(sheet.get(), nullptr, options.out.c_str()));
  if (!options.atlas.empty()) write_text(options.atlas, atlas);
  const double seconds = seconds_now() - began;
  if (options.json) {
    print_json({{"file", options.out},
                {"width", info.width_px},
                {"height", info.height_px},
                {"images", count},
                {"columns", columns},
                {"seeds", seeds},
                {"prompts", prompts},
                {"model", engine.model()},
                {"seconds", seconds},
                {"peak_memory_bytes", peak_resident_bytes()}});
  } else {
    std::printf("%s  %ux%u  %u pictures in %.1f s\n", options.out.c_str(), info.width_px, info.height_px, count,
                seconds);
  }
}

}  // namespace

void add_sheet(CLI::App& app, Chosen& chosen) {
  auto* sheet = app.add_subcommand("sheet", "Makes a contact sheet: every prompt of a file with several seeds");
  auto options = std::make_shared<Options>();
  sheet
      ->add_option("--prompts", options->prompts,
                   "A prompt a line; empty lines and those that begin with # are skipped")
      ->required()
      ->type_name("FILE");
  sheet->add_option("--out", options->out, "The PNG file of the sheet")->required()->type_name("PATH");
  sheet->add_option("--atlas", options->atlas, "A JSON file, in Aseprite's shape, that says where each picture lies")
      ->type_name("PATH");
  sheet->add_option("--seeds", options->seeds, "Pictures of each prompt, with the seeds 0 to N-1; 1 if it is not given")
      ->type_name("N");
  sheet->add_option("--columns", options->columns, "Pictures a row; as many as seeds if it is not given")
      ->type_name("N");
  options->engine.add_to(*sheet, true);
  sheet->add_option("--negative", options->negative, "What not to draw")->type_name("T");
  sheet->add_option("--width", options->width, "Pixels of a picture; the model's own size if it is not given")
      ->type_name("N");
  sheet->add_option("--height", options->height, "Pixels; likewise")->type_name("N");
  sheet->add_option("--steps", options->steps, "Sampler steps, 1 to 1000")->type_name("N");
  sheet->add_option("--cfg", options->cfg, "CFG scale, 1 to 100")->type_name("F");
  sheet->add_option("--sampler", options->sampler, "euler, \"Euler a\", ...")->type_name("NAME");
  sheet->add_option("--gap", options->gap, "Pixels between pictures, before --upscale")
      ->capture_default_str()
      ->type_name("N");
  sheet->add_option("--upscale", options->upscale, "Enlarges each pixel of the sheet to a square of N, 1 to 64")
      ->type_name("N");
  sheet->add_flag("--json", chosen.json, "One JSON line: file, size, prompts, time, peak memory");
  sheet->footer(
      "Examples:\n"
      "  gameforge sheet --prompts potions.txt --out potions.png --seeds 4\n"
      "  gameforge sheet --prompts items.txt --out items.png --seeds 8 --columns 16 --upscale 2");
  on_chosen(*sheet, chosen, [&chosen, options] {
    options->json = chosen.json;
    make_sheet(*options);
  });
}

}  // namespace command
