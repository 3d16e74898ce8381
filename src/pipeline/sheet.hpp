// Sprite sheets: many frames in one picture, and the atlas that says where each lies.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf::pipeline {

enum class SheetLayout : std::uint32_t {
  packed = 0,  ///< Wherever there is room, in as small a sheet as is found.
  grid = 1,    ///< Cells of the largest frame, row by row in the order of the frames.
};

struct SheetOptions {
  SheetLayout layout = SheetLayout::packed;
  std::uint32_t columns = 0;      ///< Of a grid; 0: as many as make it about square.
  std::uint32_t padding_px = 0;   ///< Transparent pixels between frames, at most 256.
  std::uint32_t border_px = 0;    ///< Around all, at most 256.
  std::uint32_t extrude_px = 0;   ///< Around each frame its edge once more, at most 64, against bleeding filters.
  std::uint32_t max_side_px = 0;  ///< 1 to max_image_side_px, which is what 0 stands for.
  bool trim = false;              ///< Transparent rows and columns around a frame are left out.
  bool power_of_two = false;      ///< Both sides of the sheet.
  bool merge_duplicates = false;  ///< Frames with equal pixels share a place.
};

/// Where a frame lies. Pixels; the trimmed part is `width` x `height` in the sheet and lies at trim_x, trim_y of a
/// frame that had source_width x source_height.
struct SheetFrame {
  std::uint32_t x = 0;
  std::uint32_t y = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t trim_x = 0;
  std::uint32_t trim_y = 0;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
};

struct Sheet {
  Image image;
  std::vector<SheetFrame> frames;  ///< In the order of the images.
};

inline constexpr std::size_t max_sheet_frames = 4096;

/// Packs images into one. Frames are never turned. `packed` is the skyline method (J. Jylanki, "A thousand ways to pack
/// the bin", 2010, bottom left), higher frames first, wider ones of those, earlier ones of equals, over some widths of
/// which the one with the smallest sheet wins; so equal input gives an equal sheet. A frame without a visible pixel is
/// trimmed to its first pixel.
///
/// Errors: those of check_image; invalid_argument for an option out of its range, for more than max_sheet_frames images
/// and where they do not fit into max_side_px.
Result<Sheet> pack_sheet(std::span<const Image* const> images, const SheetOptions& options = {});

/// The shapes of an atlas, as the tools write them.
enum class AtlasFormat : std::uint32_t {
  aseprite_hash = 0,        ///< `aseprite --format json-hash`: "frames" by name, each with a duration.
  aseprite_array = 1,       ///< `aseprite --format json-array`: "frames" in order, with "filename".
  texturepacker_hash = 2,   ///< TexturePacker's "JSON (Hash)".
  texturepacker_array = 3,  ///< TexturePacker's "JSON (Array)".
};

/// Frames that make one animation, from the first to the last one. Aseprite's shapes only.
struct AtlasTag {
  std::string name;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
};

struct AtlasOptions {
  AtlasFormat format = AtlasFormat::aseprite_hash;
  std::string image_name = {};          ///< The sheet's file, as a loader looks for it beside the atlas; may be empty.
  std::vector<std::string> names = {};  ///< Of the frames; none: "0", "1", ...
  std::vector<std::uint32_t> durations_ms = {};  ///< Aseprite's shapes; none: 100 each.
  std::vector<AtlasTag> tags = {};
  std::string_view version = {};  ///< Of the library, for "meta".
};

/// The atlas of a sheet of width_px x height_px as JSON.
/// Errors: invalid_argument where names or durations are not as many as frames, a name is no UTF-8 or twice there, a
/// frame lies outside of the sheet or of its source, or a tag outside of the frames; unsupported for tags in
/// TexturePacker's shapes.
Result<std::string> atlas_json(std::span<const SheetFrame> frames, std::uint32_t width_px, std::uint32_t height_px,
                               const AtlasOptions& options);

}  // namespace gf::pipeline
