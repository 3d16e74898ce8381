// gameforge asset: what becomes of pictures on their way into a game, a PNG file in and a PNG file out.
#include "commands.hpp"
#include "files.hpp"
#include "host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace command {
namespace {

Image read_picture(const std::string& path) {
  gf_image* image = nullptr;
  check(gf_image_read_png(path.c_str(), &image));
  return Image(image);
}

/// The recipe of a picture's file, which goes along with what is made of it; nullopt where it has none.
std::optional<std::string> recipe_of(const std::string& path) {
  std::uint64_t size = 0;
  const auto status = gf_png_read_parameters(path.c_str(), nullptr, &size);
  if (status == GF_ERR_NOT_FOUND) return std::nullopt;
  check(status);
  std::string text(size, '\0');
  check(gf_png_read_parameters(path.c_str(), text.data(), &size));
  text.resize(size - 1);
  return text;
}

/// A picture in, a picture out.
struct Files {
  std::string in, out;
  bool without_recipe = false;

  void add_to(CLI::App& app, const char* what) {
    app.add_option("picture", in, what)->required()->type_name("IN.png");
    app.add_option("--out", out, "The PNG file that is made")->required()->type_name("OUT.png");
    app.add_flag("--no-recipe", without_recipe, "Leaves out the text that IN.png has about how it was made");
  }

  void write(const Image& image, bool indexed = false) const {
    std::optional<std::string> recipe;
    if (!without_recipe) recipe = recipe_of(in);
    gf_png_options options = GF_PNG_OPTIONS_INIT;
    options.parameters = recipe ? recipe->c_str() : nullptr;
    options.indexed = indexed ? 1 : 0;
    check(gf_image_write_png(image.get(), &options, out.c_str()));
  }
};

/// What a command tells of a picture that it made.
void report(const Chosen& chosen, const std::string& out, const Image& image, Json more) {
  const auto info = image.describe();
  if (chosen.json) {
    more["file"] = out;
    more["width"] = info.width_px;
    more["height"] = info.height_px;
    return print_json(more);
  }
  std::printf("%s  %ux%u\n", out.c_str(), info.width_px, info.height_px);
}

std::string hex(std::uint32_t colour) { return fmt::format("#{:06X}", colour); }

/// RRGGBB, with or without #.
std::uint32_t colour_of(const char* option, std::string_view text) {
  std::uint32_t colour = 0;
  std::uint64_t count = 1;
  if (gf_palette_parse(text.data(), text.size(), &colour, &count) != GF_OK ||
      text.find('\n') != std::string_view::npos) {
    throw wrong(fmt::format("{} is {}; it must be six hexadecimal digits, as FF00FF", option, text));
  }
  return colour;
}

std::vector<std::uint32_t> palette_of(const std::string& path) {
  std::uint64_t count = 0;
  check(gf_palette_read(path.c_str(), nullptr, &count));
  std::vector<std::uint32_t> colours(count);
  check(gf_palette_read(path.c_str(), colours.data(), &count));
  return colours;
}

/// The place of a word in a list of words.
std::uint32_t word_of(const char* option, const std::string& given, const std::vector<std::string>& words) {
  const auto found = std::find(words.begin(), words.end(), given);
  if (found == words.end())
    throw wrong(fmt::format("{} is {}; it must be one of {}", option, given, fmt::join(words, ", ")));
  return static_cast<std::uint32_t>(found - words.begin());
}

CLI::App* add_command(CLI::App& asset, Chosen& chosen, const char* name, const char* what, const char* examples) {
  auto* command = asset.add_subcommand(name, what);
  command->add_flag("--json", chosen.json, "One JSON object on one line");
  command->footer(fmt::format("Examples:\n{}", examples));
  return command;
}

void add_seam(CLI::App& asset, Chosen& chosen) {
  auto* seam = add_command(asset, chosen, "seam", "Measures the seams of a texture that is to be tiled",
                           "  gameforge asset seam grass.png\n"
                           "  gameforge asset seam grass.png --most 1.1 --axis x   # ends with 4 where it is more");
  struct Options {
    std::string in, axis = "xy";
    std::optional<double> most;
  };
  auto options = std::make_shared<Options>();
  seam->add_option("picture", options->in, "The texture")->required()->type_name("IN.png");
  seam->add_option("--most", options->most, "The largest score that is good; 1 is a seam like the inside")
      ->type_name("F");
  seam->add_option("--axis", options->axis, "x, y or xy: which seams --most is about")
      ->capture_default_str()
      ->type_name("A");
  on_chosen(*seam, chosen, [&chosen, options] {
    (void)word_of("--axis", options->axis, {"x", "y", "xy"});
    gf_seam_score score = GF_SEAM_SCORE_INIT;
    check(gf_image_seam_score(read_picture(options->in).get(), &score));
    const bool about_x = options->axis != "y", about_y = options->axis != "x";
    const bool good =
        !options->most || (!(about_x && score.x > *options->most) && !(about_y && score.y > *options->most));
    if (chosen.json) {
      Json line = {
          {"x",
           {{"score", score.x}, {"edge", score.edge_x}, {"inner", score.inner_x}, {"inner_most", score.inner_most_x}}},
          {"y",
           {{"score", score.y}, {"edge", score.edge_y}, {"inner", score.inner_y}, {"inner_most", score.inner_most_y}}}};
      if (options->most) line["good"] = good;
      print_json(line);
    } else {
      std::printf("x  score %.3f  (edge %.2f, inside %.2f, at most %.2f)\n", score.x, score.edge_x, score.inner_x,
                  score.inner_most_x);
      std::printf("y  score %.3f  (edge %.2f, inside %.2f, at most %.2f)\n", score.y, score.edge_y, score.inner_y,
                  score.inner_most_y);
    }
    if (!good) chosen.exit_code = 4;
  });
}

void add_key(CLI::App& asset, Chosen& chosen) {
  auto* key = add_command(asset, chosen, "key", "Cuts a sprite out of its flat background, with soft edges",
                          "  gameforge asset key potion.png --out sprite.png\n"
                          "  gameforge asset key hero.png --out hero.png --colour 00FF00 --tolerance 80 --enclosed 12");
  struct Options {
    Files files;
    std::string colour;
    std::optional<std::uint32_t> tolerance, share, edge, enclosed;
    bool keep_spill = false;
  };
  auto options = std::make_shared<Options>();
  options->files.add_to(*key, "The picture");
  key->add_option("--colour", options->colour, "The background's colour; the border's dominant one if it is not given")
      ->type_name("RRGGBB");
  key->add_option("--tolerance", options->tolerance,
                  "How far background may be off that colour, 1 to 1000, in 1/1000 of OKLab; 50 if it is not given")
      ->type_name("N");
  key->add_option("--border-share", options->share,
                  "Of the border that must have a colour for it to be dominant, 1 to 1000; 500 if it is not given")
      ->type_name("N");
  key->add_option("--edge", options->edge, "How many pixels wide soft edges are, 0 to 8; 2 if it is not given")
      ->type_name("N");
  key->add_flag("--keep-spill", options->keep_spill, "Leaves the background's part in the colours of the edge");
  key->add_option("--enclosed", options->enclosed,
                  "Cuts out background inside of the subject too, from so many pixels on")
      ->type_name("N");
  on_chosen(*key, chosen, [&chosen, options] {
    gf_sprite_options wanted = GF_SPRITE_OPTIONS_INIT;
    if (!options->colour.empty()) {
      wanted.use_key = 1;
      wanted.key = colour_of("--colour", options->colour);
    }
    wanted.tolerance = given_or_default(options->tolerance, "tolerance", 1000);
    wanted.border_share = given_or_default(options->share, "border-share", 1000);
    if (options->edge == 0u) {
      wanted.hard_edge = 1;
    } else {
      wanted.edge_px = given_or_default(options->edge, "edge", 8);
    }
    wanted.keep_spill = options->keep_spill ? 1 : 0;
    wanted.enclosed_px = options->enclosed.value_or(0);
    check_writable(options->files.out);
    gf_image* made = nullptr;
    std::uint32_t taken = GF_NO_KEY;
    check(gf_image_cut_sprite(read_picture(options->files.in).get(), &wanted, &made, &taken));
    const Image sprite(made);
    options->files.write(sprite);
    report(chosen, options->files.out, sprite, {{"key", taken == GF_NO_KEY ? Json() : Json(hex(taken))}});
  });
}

void add_pixelate(CLI::App& asset, Chosen& chosen) {
  auto* pixelate =
      add_command(asset, chosen, "pixelate", "Makes pixel art: cells, few colours, an alpha that is there or not",
                  "  gameforge asset pixelate knight.png --out knight32.png --width 32 --height 32 --colours 16\n"
                  "  gameforge asset pixelate tile.png --out tile8.png --cell 8 --palette pico8.hex --dither bayer");
  struct Options {
    Files files;
    std::optional<std::uint32_t> cell, width, height, colours, percent, threshold;
    std::string palette, by = "majority", dither = "none";
    bool rgba = false;
  };
  auto options = std::make_shared<Options>();
  options->files.add_to(*pixelate, "The picture");
  pixelate->add_option("--cell", options->cell, "Pixels of the picture that become one, across and down")
      ->type_name("N");
  pixelate->add_option("--width", options->width, "Pixels of the result, instead of --cell")->type_name("N");
  pixelate->add_option("--height", options->height, "With --width")->type_name("N");
  pixelate->add_option("--by", options->by, "majority or centre: which colour a cell gets")
      ->capture_default_str()
      ->type_name("W");
  pixelate->add_option("--palette", options->palette, "A .gpl or .hex file with the colours that the result may have")
      ->type_name("FILE");
  pixelate->add_option("--colours", options->colours, "Finds so many colours instead, 1 to 256")->type_name("N");
  pixelate->add_option("--dither", options->dither, "none, bayer or floyd-steinberg")
      ->capture_default_str()
      ->type_name("W");
  pixelate->add_option("--dither-percent", options->percent, "How strong, 1 to 100")->type_name("N");
  pixelate
      ->add_option("--alpha", options->threshold,
                   "From which alpha on a pixel is opaque, 1 to 255; 128 if it is not given")
      ->type_name("N");
  pixelate->add_flag("--rgba", options->rgba, "Writes four channels also where a palette would do");
  on_chosen(*pixelate, chosen, [&chosen, options] {
    gf_pixelate_options wanted = GF_PIXELATE_OPTIONS_INIT;
    wanted.cell_px = given_or_default(options->cell, "cell", 16384);
    wanted.width_px = given_or_default(options->width, "width", 16384);
    wanted.height_px = given_or_default(options->height, "height", 16384);
    wanted.cell_colour = word_of("--by", options->by, {"majority", "centre"});
    wanted.dither = word_of("--dither", options->dither, {"none", "bayer", "floyd-steinberg"});
    wanted.colour_count = given_or_default(options->colours, "colours", 256);
    wanted.dither_percent = given_or_default(options->percent, "dither-percent", 100);
    wanted.alpha_threshold = given_or_default(options->threshold, "alpha", 255);
    std::vector<std::uint32_t> palette;
    if (!options->palette.empty()) palette = palette_of(options->palette);
    wanted.palette = palette.data();
    wanted.palette_count = static_cast<std::uint32_t>(palette.size());
    check_writable(options->files.out);
    gf_image* made = nullptr;
    check(gf_image_pixelate(read_picture(options->files.in).get(), &wanted, &made));
    const Image art(made);
    // With all 256 colours and nothing the palette of a PNG would be too small by one.
    const auto most = std::max<std::size_t>(palette.size(), wanted.colour_count);
    const bool indexed = !options->rgba && most != 0 && most < 256;
    options->files.write(art, indexed);
    report(chosen, options->files.out, art, {{"indexed", indexed}});
  });
}

void add_palette(CLI::App& asset, Chosen& chosen) {
  auto* palette =
      add_command(asset, chosen, "palette", "Finds colours that several pictures share, as a .hex file's lines",
                  "  gameforge asset palette walk_*.png --colours 16 > hero.hex\n"
                  "  gameforge asset palette tiles.png --colours 32 --json");
  struct Options {
    std::vector<std::string> in;
    std::uint32_t colours = 16;
  };
  auto options = std::make_shared<Options>();
  palette->add_option("pictures", options->in, "The pictures")->required()->type_name("IN.png...");
  palette->add_option("--colours", options->colours, "How many at most, 1 to 256")
      ->capture_default_str()
      ->type_name("N");
  on_chosen(*palette, chosen, [&chosen, options] {
    std::vector<Image> images;
    std::vector<gf_image*> handles;
    for (const auto& path : options->in) images.push_back(read_picture(path));
    for (const auto& image : images) handles.push_back(image.get());
    std::vector<std::uint32_t> colours(256);
    std::uint64_t count = colours.size();
    check(gf_palette_find(handles.data(), static_cast<std::uint32_t>(handles.size()), options->colours, colours.data(),
                          &count));
    Json list = Json::array();
    for (std::uint64_t i = 0; i < count; ++i) {
      list.push_back(hex(colours[i]));
      if (!chosen.json) std::printf("%06x\n", colours[i]);
    }
    if (chosen.json) print_json({{"colours", list}});
  });
}

void add_normal(CLI::App& asset, Chosen& chosen) {
  auto* normal =
      add_command(asset, chosen, "normal", "Makes a normal map of a height",
                  "  gameforge asset normal bricks.png --out bricks_n.png --wrap xy\n"
                  "  gameforge asset normal sprite.png --out sprite_n.png --height alpha --directx --strength 4");
  struct Options {
    Files files;
    std::string height = "luminance", wrap;
    std::optional<double> strength;
    bool directx = false;
  };
  auto options = std::make_shared<Options>();
  options->files.add_to(*normal, "The picture");
  normal->add_option("--height", options->height, "luminance, red, green, blue or alpha: where the height is read")
      ->capture_default_str()
      ->type_name("W");
  normal->add_option("--wrap", options->wrap, "x, y or xy: where opposite edges are neighbours, for tiles")
      ->type_name("A");
  normal
      ->add_option("--strength", options->strength,
                   "How many pixels high the step from 0 to 255 is; negative turns it inside out; 8 if it is not given")
      ->type_name("F");
  normal->add_flag("--directx", options->directx, "Green points down the picture; without it up, as OpenGL has it");
  on_chosen(*normal, chosen, [&chosen, options] {
    gf_normal_map_options wanted = GF_NORMAL_MAP_OPTIONS_INIT;
    wanted.channel = word_of("--height", options->height, {"luminance", "red", "green", "blue", "alpha"});
    if (!options->wrap.empty()) (void)word_of("--wrap", options->wrap, {"x", "y", "xy"});
    wanted.wrap_x = options->wrap.find('x') != std::string::npos ? 1 : 0;
    wanted.wrap_y = options->wrap.find('y') != std::string::npos ? 1 : 0;
    wanted.green_down = options->directx ? 1 : 0;
    if (options->strength == 0.0) throw wrong("--strength is 0; a map without strength is flat");
    wanted.strength = options->strength.value_or(0);
    check_writable(options->files.out);
    gf_image* made = nullptr;
    check(gf_image_normal_map(read_picture(options->files.in).get(), &wanted, &made));
    const Image map(made);
    options->files.write(map);
    report(chosen, options->files.out, map, Json::object());
  });
}

/// NAME:FIRST-LAST of --tag.
struct Tag {
  std::string name;
  std::uint32_t first = 0, last = 0;
};

Tag tag_of(const std::string& text) {
  const auto colon = text.rfind(':');
  const auto dash = text.find('-', colon == std::string::npos ? 0 : colon);
  const auto number = [&](std::size_t from, std::size_t to, std::uint32_t& into) {
    const auto* const end = text.data() + to;
    const auto [stop, error] = std::from_chars(text.data() + from, end, into);
    return from < to && error == std::errc() && stop == end;
  };
  Tag tag;
  if (colon == std::string::npos || colon == 0 || dash == std::string::npos || !number(colon + 1, dash, tag.first) ||
      !number(dash + 1, text.size(), tag.last)) {
    throw wrong(fmt::format("--tag is {}; write NAME:FIRST-LAST, as walk:0-7", text));
  }
  tag.name = text.substr(0, colon);
  return tag;
}

void add_asset_sheet(CLI::App& asset, Chosen& chosen) {
  auto* sheet = add_command(
      asset, chosen, "sheet", "Packs pictures into a sprite sheet with a JSON atlas",
      "  gameforge asset sheet walk_*.png --out hero.png --atlas hero.json --tag walk:0-7 --duration 80\n"
      "  gameforge asset sheet icons/*.png --out icons.png --atlas icons.json --format texturepacker-hash \\\n"
      "    --trim --power-of-two --padding 2 --extrude 1");
  struct Options {
    std::vector<std::string> in, tags;
    std::string out, atlas, format = "aseprite-hash", layout = "packed";
    std::optional<std::uint32_t> columns, padding, border, extrude, most;
    std::uint32_t duration = 100;
    bool trim = false, power_of_two = false, merge = false;
  };
  auto options = std::make_shared<Options>();
  sheet->add_option("pictures", options->in, "The frames, in order; their file names are their names")
      ->required()
      ->type_name("IN.png...");
  sheet->add_option("--out", options->out, "The PNG file of the sheet")->required()->type_name("OUT.png");
  sheet->add_option("--atlas", options->atlas, "The JSON file that says where each frame lies")->type_name("OUT.json");
  sheet
      ->add_option("--format", options->format,
                   "aseprite-hash, aseprite-array, texturepacker-hash or texturepacker-array")
      ->capture_default_str()
      ->type_name("W");
  sheet->add_option("--layout", options->layout, "packed or grid")->capture_default_str()->type_name("W");
  sheet->add_option("--columns", options->columns, "Of a grid; about square if it is not given")->type_name("N");
  sheet->add_option("--padding", options->padding, "Pixels between frames, at most 256")->type_name("N");
  sheet->add_option("--border", options->border, "Pixels around all of them, at most 256")->type_name("N");
  sheet->add_option("--extrude", options->extrude, "How often each frame's edge is repeated around it, at most 64")
      ->type_name("N");
  sheet->add_option("--max-side", options->most, "Pixels of the sheet's sides, at most 16384")->type_name("N");
  sheet->add_option("--duration", options->duration, "Milliseconds of a frame, in Aseprite's shapes")
      ->capture_default_str()
      ->type_name("N");
  sheet->add_option("--tag", options->tags, "NAME:FIRST-LAST: frames that are one animation, from 0; may be repeated")
      ->allow_extra_args(false)
      ->type_name("T");
  sheet->add_flag("--trim", options->trim, "Leaves out transparent rows and columns around frames");
  sheet->add_flag("--power-of-two", options->power_of_two, "Both sides of the sheet are powers of two");
  sheet->add_flag("--merge", options->merge, "Frames with equal pixels share a place");
  on_chosen(*sheet, chosen, [&chosen, options] {
    gf_sheet_options wanted = GF_SHEET_OPTIONS_INIT;
    wanted.layout = word_of("--layout", options->layout, {"packed", "grid"});
    wanted.columns = given_or_default(options->columns, "columns", 4096);
    wanted.padding_px = options->padding.value_or(0);
    wanted.border_px = options->border.value_or(0);
    wanted.extrude_px = options->extrude.value_or(0);
    wanted.max_side_px = given_or_default(options->most, "max-side", 16384);
    wanted.trim = options->trim ? 1 : 0;
    wanted.power_of_two = options->power_of_two ? 1 : 0;
    wanted.merge_duplicates = options->merge ? 1 : 0;
    gf_atlas_options atlas = GF_ATLAS_OPTIONS_INIT;
    atlas.format = word_of("--format", options->format,
                           {"aseprite-hash", "aseprite-array", "texturepacker-hash", "texturepacker-array"});
    std::vector<Tag> tags;
    std::vector<gf_atlas_tag> tag_texts;
    for (const auto& text : options->tags) tags.push_back(tag_of(text));
    for (const auto& tag : tags) tag_texts.push_back({tag.name.c_str(), tag.first, tag.last});
    if (!tags.empty() && options->atlas.empty()) throw wrong("--tag needs --atlas");
    check_writable(options->out);
    if (!options->atlas.empty()) check_writable(options->atlas);

    std::vector<Image> images;
    std::vector<gf_image*> handles;
    std::vector<std::string> names;
    std::vector<const char*> name_texts;
    for (const auto& path : options->in) {
      images.push_back(read_picture(path));
      names.push_back(std::filesystem::path(path).filename().string());
    }
    for (const auto& image : images) handles.push_back(image.get());
    for (const auto& name : names) name_texts.push_back(name.c_str());
    const auto count = static_cast<std::uint32_t>(images.size());
    std::vector<gf_sheet_frame> frames(count);
    gf_image* made = nullptr;
    check(gf_image_pack(handles.data(), count, &wanted, &made, frames.data()));
    const Image packed(made);
    const auto info = packed.describe();

    // The atlas first: what is wrong with it leaves no sheet behind.
    std::string json;
    if (!options->atlas.empty()) {
      const std::string image_name = std::filesystem::path(options->out).filename().string();
      const std::vector<std::uint32_t> durations(count, options->duration);
      atlas.image_name = image_name.c_str();
      atlas.names = name_texts.data();
      atlas.durations_ms = durations.data();
      atlas.tags = tag_texts.data();
      atlas.tag_count = static_cast<std::uint32_t>(tag_texts.size());
      json = text_of([&](char* buffer, std::uint64_t* size) {
        return gf_atlas_json(frames.data(), count, info.width_px, info.height_px, &atlas, buffer, size);
      });
    }
    check(gf_image_write_png(packed.get(), nullptr, options->out.c_str()));
    if (!options->atlas.empty()) write_text(options->atlas, json);
    Json more = {{"frames", count}};
    if (!options->atlas.empty()) more["atlas"] = options->atlas;
    report(chosen, options->out, packed, std::move(more));
  });
}

}  // namespace

void add_asset(CLI::App& app, Chosen& chosen) {
  auto* asset = app.add_subcommand("asset", "Makes game assets of PNG files: sprites, pixel art, sheets, normal maps");
  asset->require_subcommand(1);
  asset->footer(
      "Each works on the pixels alone, without a model, and gives the same bytes each time. docs/assets.md says what "
      "each\n"
      "computes.\n"
      "\n"
      "Examples:\n"
      "  gameforge asset key potion.png --out sprite.png\n"
      "  gameforge asset pixelate sprite.png --out art.png --width 32 --height 32 --colours 16\n"
      "  gameforge asset sheet art_*.png --out sheet.png --atlas sheet.json");
  add_key(*asset, chosen);
  add_pixelate(*asset, chosen);
  add_palette(*asset, chosen);
  add_asset_sheet(*asset, chosen);
  add_normal(*asset, chosen);
  add_seam(*asset, chosen);
}

}  // namespace command
