// Assets at the ABI: seams, sprites, pixel art, palettes, normal maps and sheets.
#include "base/files.hpp"
#include "buffers.hpp"
#include "firewall.hpp"
#include "images.hpp"
#include "objects.hpp"
#include "pipeline/normal_map.hpp"
#include "pipeline/palette.hpp"
#include "pipeline/pixel_art.hpp"
#include "pipeline/seam.hpp"
#include "pipeline/sheet.hpp"
#include "pipeline/sprite.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using gf::Result;

namespace gf::capi {
namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_seam_score) == 72);
static_assert(sizeof(gf_sprite_options) == 36);
static_assert(sizeof(gf_pixelate_options) == 48);
static_assert(sizeof(gf_normal_map_options) == 32);
static_assert(sizeof(gf_sheet_options) == 40);
static_assert(sizeof(gf_sheet_frame) == 32);  // Never grows: hosts have arrays of it. So has gf_atlas_tag.
static_assert(sizeof(gf_atlas_tag) == 16);
static_assert(sizeof(gf_atlas_options) == 48);
constexpr std::size_t first_seam_bytes = 72;
constexpr std::size_t first_sprite_bytes = 36;
constexpr std::size_t first_pixelate_bytes = 48;
constexpr std::size_t first_normal_map_bytes = 32;
constexpr std::size_t first_sheet_bytes = 40;
constexpr std::size_t first_atlas_bytes = 48;

using pipeline::AtlasFormat;
using pipeline::CellColour;
using pipeline::Dither;
using pipeline::HeightChannel;
using pipeline::SheetLayout;

static_assert(same(CellColour::majority, GF_CELL_MAJORITY) && same(CellColour::centre, GF_CELL_CENTRE));
static_assert(same(Dither::none, GF_DITHER_NONE) && same(Dither::bayer, GF_DITHER_BAYER) &&
              same(Dither::floyd_steinberg, GF_DITHER_FLOYD_STEINBERG));
static_assert(same(HeightChannel::luminance, GF_HEIGHT_LUMINANCE) && same(HeightChannel::red, GF_HEIGHT_RED) &&
              same(HeightChannel::green, GF_HEIGHT_GREEN) && same(HeightChannel::blue, GF_HEIGHT_BLUE) &&
              same(HeightChannel::alpha, GF_HEIGHT_ALPHA));
static_assert(same(SheetLayout::packed, GF_SHEET_PACKED) && same(SheetLayout::grid, GF_SHEET_GRID));
static_assert(same(AtlasFormat::aseprite_hash, GF_ATLAS_ASEPRITE_HASH) &&
              same(AtlasFormat::aseprite_array, GF_ATLAS_ASEPRITE_ARRAY) &&
              same(AtlasFormat::texturepacker_hash, GF_ATLAS_TEXTUREPACKER_HASH) &&
              same(AtlasFormat::texturepacker_array, GF_ATLAS_TEXTUREPACKER_ARRAY));

/// A field in which 0 stands for the default.
std::uint32_t given_or(std::uint32_t value, std::uint32_t default_value) { return value != 0 ? value : default_value; }

Result<pipeline::SpriteOptions> sprite_options(const gf_sprite_options* options) {
  GF_TRY(const auto read,
         read_options(options, gf_sprite_options GF_SPRITE_OPTIONS_INIT, first_sprite_bytes, "options"));
  pipeline::SpriteOptions sprite;
  GF_TRY(const auto use_key, truth(read.use_key, "options->use_key"));
  GF_TRY(const auto hard_edge, truth(read.hard_edge, "options->hard_edge"));
  GF_TRY(const auto keep_spill, truth(read.keep_spill, "options->keep_spill"));
  if (use_key) sprite.key = read.key;
  sprite.tolerance = given_or(read.tolerance, sprite.tolerance);
  sprite.border_share = given_or(read.border_share, sprite.border_share);
  sprite.edge_px = hard_edge ? 0 : given_or(read.edge_px, sprite.edge_px);
  sprite.despill = !keep_spill;
  sprite.enclosed_px = read.enclosed_px;
  return sprite;
}

Result<pipeline::PixelArtOptions> pixelate_options(const gf_pixelate_options* options) {
  GF_TRY(const auto read,
         read_options(options, gf_pixelate_options GF_PIXELATE_OPTIONS_INIT, first_pixelate_bytes, "options"));
  pipeline::PixelArtOptions art;
  art.cell_px = given_or(read.cell_px, art.cell_px);
  art.width_px = read.width_px;
  art.height_px = read.height_px;
  GF_TRY(art.cell_colour, known(read.cell_colour, CellColour::centre, "options->cell_colour"));
  GF_TRY(art.dither, known(read.dither, Dither::floyd_steinberg, "options->dither"));
  art.dither_percent = given_or(read.dither_percent, art.dither_percent);
  art.colours = read.colour_count;
  const auto threshold = given_or(read.alpha_threshold, art.alpha_threshold);
  if (threshold > 255) return invalid(fmt::format("options->alpha_threshold is {}; it must be 1 to 255", threshold));
  art.alpha_threshold = static_cast<std::uint8_t>(threshold);
  if (read.palette_count > pipeline::max_palette_colours) {
    return invalid(fmt::format("options->palette_count is {}; it must be at most {}", read.palette_count,
                               pipeline::max_palette_colours));
  }
  if (read.palette_count != 0) {
    if (read.palette == nullptr) return invalid("options->palette is NULL");
    art.palette.assign(read.palette, read.palette + read.palette_count);
  }
  return art;
}

Result<pipeline::NormalMapOptions> normal_map_options(const gf_normal_map_options* options) {
  GF_TRY(const auto read,
         read_options(options, gf_normal_map_options GF_NORMAL_MAP_OPTIONS_INIT, first_normal_map_bytes, "options"));
  pipeline::NormalMapOptions map;
  GF_TRY(map.channel, known(read.channel, HeightChannel::alpha, "options->channel"));
  GF_TRY(map.wrap_x, truth(read.wrap_x, "options->wrap_x"));
  GF_TRY(map.wrap_y, truth(read.wrap_y, "options->wrap_y"));
  GF_TRY(map.directx, truth(read.green_down, "options->green_down"));
  GF_TRYV(zero(read.reserved, "options->reserved"));
  if (read.strength != 0) map.strength = read.strength;
  return map;
}

Result<pipeline::SheetOptions> sheet_options(const gf_sheet_options* options) {
  GF_TRY(const auto read, read_options(options, gf_sheet_options GF_SHEET_OPTIONS_INIT, first_sheet_bytes, "options"));
  pipeline::SheetOptions sheet;
  GF_TRY(sheet.layout, known(read.layout, SheetLayout::grid, "options->layout"));
  sheet.columns = read.columns;
  sheet.padding_px = read.padding_px;
  sheet.border_px = read.border_px;
  sheet.extrude_px = read.extrude_px;
  sheet.max_side_px = read.max_side_px;
  GF_TRY(sheet.trim, truth(read.trim, "options->trim"));
  GF_TRY(sheet.power_of_two, truth(read.power_of_two, "options->power_of_two"));
  GF_TRY(sheet.merge_duplicates, truth(read.merge_duplicates, "options->merge_duplicates"));
  return sheet;
}

Result<pipeline::AtlasOptions> atlas_options(const gf_atlas_options* options, std::uint32_t count) {
  GF_TRY(const auto read, read_options(options, gf_atlas_options GF_ATLAS_OPTIONS_INIT, first_atlas_bytes, "options"));
  pipeline::AtlasOptions atlas;
  atlas.version = GAMEFORGE_VERSION_TEXT;
  GF_TRY(atlas.format, known(read.format, AtlasFormat::texturepacker_array, "options->format"));
  GF_TRYV(zero(read.reserved, "options->reserved"));
  if (read.image_name != nullptr) atlas.image_name = read.image_name;
  if (read.names != nullptr) {
    for (std::uint32_t i = 0; i < count; ++i) {
      GF_TRY(const auto name, needed_text(read.names[i], fmt::format("options->names[{}]", i)));
      atlas.names.emplace_back(name);
    }
  }
  if (read.durations_ms != nullptr) atlas.durations_ms.assign(read.durations_ms, read.durations_ms + count);
  constexpr auto max_tags = static_cast<std::uint32_t>(pipeline::max_sheet_frames);
  if (read.tag_count > max_tags) {
    return invalid(fmt::format("options->tag_count is {}; it must be at most {}", read.tag_count, max_tags));
  }
  if (read.tag_count != 0 && read.tags == nullptr) return invalid("options->tags is NULL");
  for (std::uint32_t i = 0; i < read.tag_count; ++i) {
    const auto& tag = read.tags[i];
    GF_TRY(const auto name, needed_text(tag.name, fmt::format("options->tags[{}].name", i)));
    atlas.tags.push_back({std::string(name), tag.first_frame, tag.last_frame});
  }
  return atlas;
}

pipeline::SheetFrame inner_frame(const gf_sheet_frame& frame) {
  return {frame.x,      frame.y,      frame.width_px,        frame.height_px,
          frame.trim_x, frame.trim_y, frame.source_width_px, frame.source_height_px};
}

gf_sheet_frame public_frame(const pipeline::SheetFrame& frame) {
  return {frame.x,      frame.y,      frame.width,        frame.height,
          frame.trim_x, frame.trim_y, frame.source_width, frame.source_height};
}

Result<void> give_palette(Result<pipeline::Palette> made, std::uint32_t* colours, std::uint64_t* count) {
  GF_TRY(const auto palette, std::move(made));
  return fill_buffer(palette.size(), colours, count, "colours",
                     [&](std::uint32_t* to) { std::copy(palette.begin(), palette.end(), to); });
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_image_seam_score(gf_image* image, gf_seam_score* out_score) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRYV(check_out(out_score, first_seam_bytes, "out_score"));
    GF_TRY(const auto score, gf::pipeline::seam_score(*found));
    gf_seam_score out = GF_SEAM_SCORE_INIT;
    out.x = score.x.score;
    out.y = score.y.score;
    out.edge_x = score.x.edge;
    out.edge_y = score.y.edge;
    out.inner_x = score.x.inner;
    out.inner_y = score.y.inner;
    out.inner_most_x = score.x.inner_most;
    out.inner_most_y = score.y.inner_most;
    write_out(out_score, out);
    return gf::success();
  });
}

gf_status gf_image_cut_sprite(gf_image* image, const gf_sprite_options* options, gf_image** out_image,
                              uint32_t* out_key) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRY(const auto wanted, sprite_options(options));
    GF_TRY(auto sprite, gf::pipeline::cut_sprite(*found, wanted));
    GF_TRYV(give_image(std::move(sprite.image), out_image));
    if (out_key != nullptr) *out_key = sprite.key.value_or(GF_NO_KEY);
    return gf::success();
  });
}

gf_status gf_image_pixelate(gf_image* image, const gf_pixelate_options* options, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRY(const auto wanted, pixelate_options(options));
    return give_image(gf::pipeline::pixelate(*found, wanted), out_image);
  });
}

gf_status gf_palette_parse(const char* text, uint64_t size, uint32_t* colours, uint64_t* count) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(count, "count"));
    if (text == nullptr) return invalid("text is NULL");
    return give_palette(gf::pipeline::parse_palette({text, size}, "text"), colours, count);
  });
}

gf_status gf_palette_read(const char* path, uint32_t* colours, uint64_t* count) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(count, "count"));
    if (path == nullptr) return invalid("path is NULL");
    GF_TRY(const auto text, gf::read_text(path, gf::pipeline::max_palette_file_bytes));
    return give_palette(gf::pipeline::parse_palette(text, path), colours, count);
  });
}

gf_status gf_palette_find(gf_image* const* image_array, uint32_t image_count, uint32_t colour_count, uint32_t* colours,
                          uint64_t* count) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(count, "count"));
    GF_TRY(const auto found, find_images(image_array, image_count));
    return give_palette(gf::pipeline::find_palette(found.pointers, colour_count), colours, count);
  });
}

gf_status gf_image_normal_map(gf_image* image, const gf_normal_map_options* options, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto found, find(images(), image, "image"));
    GF_TRY(const auto wanted, normal_map_options(options));
    return give_image(gf::pipeline::normal_map(*found, wanted), out_image);
  });
}

gf_status gf_image_pack(gf_image* const* image_array, uint32_t count, const gf_sheet_options* options,
                        gf_image** out_image, gf_sheet_frame* out_frames) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto found, find_images(image_array, count));
    GF_TRY(const auto wanted, sheet_options(options));
    GF_TRY(auto sheet, gf::pipeline::pack_sheet(found.pointers, wanted));
    GF_TRYV(give_image(std::move(sheet.image), out_image));
    if (out_frames != nullptr) std::transform(sheet.frames.begin(), sheet.frames.end(), out_frames, public_frame);
    return gf::success();
  });
}

gf_status gf_atlas_json(const gf_sheet_frame* frames, uint32_t count, uint32_t width_px, uint32_t height_px,
                        const gf_atlas_options* options, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    if (frames == nullptr) return invalid("frames is NULL");
    if (count < 1 || count > gf::pipeline::max_sheet_frames) {
      return invalid(fmt::format("count is {}; it must be 1 to {}", count, gf::pipeline::max_sheet_frames));
    }
    GF_TRY(const auto wanted, atlas_options(options, count));
    std::vector<gf::pipeline::SheetFrame> inner(count);
    std::transform(frames, frames + count, inner.begin(), inner_frame);
    GF_TRY(const auto json, gf::pipeline::atlas_json(inner, width_px, height_px, wanted));
    return give_text(json, buffer, size);
  });
}

}  // extern "C"
