#include "pipeline/sheet.hpp"

#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "pipeline/flood.hpp"
#include "pipeline/image_ops.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace gf::pipeline {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

constexpr std::uint32_t max_padding_px = 256;
constexpr std::uint32_t max_extrude_px = 64;

/// The smallest rectangle with every pixel whose alpha is not 0.
SheetFrame trimmed(const Image& image) {
  std::uint32_t left = image.width, right = 0, top = image.height, bottom = 0;
  for (std::uint32_t y = 0; y < image.height; ++y) {
    for (std::uint32_t x = 0; x < image.width; ++x) {
      if (alpha_at(image, std::size_t{y} * image.width + x) == 0) continue;
      left = std::min(left, x);
      right = std::max(right, x + 1);
      top = std::min(top, y);
      bottom = y + 1;
    }
  }
  if (right == 0) left = top = 0, right = bottom = 1;
  return {0, 0, right - left, bottom - top, left, top, image.width, image.height};
}

const std::uint8_t* row_of(const Image& image, const SheetFrame& frame, std::uint32_t row) {
  return image.rgba.data() + ((std::size_t{frame.trim_y} + row) * image.width + frame.trim_x) * 4;
}

bool same_pixels(const Image& a, const SheetFrame& in_a, const Image& b, const SheetFrame& in_b) {
  if (in_a.width != in_b.width || in_a.height != in_b.height) return false;
  for (std::uint32_t row = 0; row < in_a.height; ++row) {
    if (std::memcmp(row_of(a, in_a, row), row_of(b, in_b, row), std::size_t{in_a.width} * 4) != 0) return false;
  }
  return true;
}

/// FNV-1a of what same_pixels compares.
std::uint64_t pixel_hash(const Image& image, const SheetFrame& frame) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (std::uint32_t row = 0; row < frame.height; ++row) {
    const auto* p = row_of(image, frame, row);
    for (std::size_t i = 0; i < std::size_t{frame.width} * 4; ++i) hash = (hash ^ p[i]) * 0x100000001B3;
  }
  return hash;
}

/// For each frame the first one with the same pixels, which may be itself.
std::vector<std::size_t> first_equals(std::span<const Image* const> images, const std::vector<SheetFrame>& frames) {
  std::vector<std::size_t> first(frames.size());
  std::map<std::uint64_t, std::vector<std::size_t>> by_hash;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    auto& same_hash = by_hash[pixel_hash(*images[i], frames[i])];
    const auto equal = std::find_if(same_hash.begin(), same_hash.end(), [&](std::size_t other) {
      return same_pixels(*images[i], frames[i], *images[other], frames[other]);
    });
    first[i] = equal == same_hash.end() ? i : *equal;
    if (first[i] == i) same_hash.push_back(i);
  }
  return first;
}

/// A frame with its extrusion and the padding behind it.
struct Box {
  std::uint64_t width, height;
};

struct Place {
  std::uint64_t x = 0, y = 0;
};

/// Where the boxes lie and what they take up, with the padding behind the last ones.
struct Placed {
  std::vector<Place> places;
  std::uint64_t width = 0, height = 0;
};

/// The upper rim of what is placed so far: pieces from left to right that fill the sheet's width.
class Skyline {
 public:
  explicit Skyline(std::uint64_t width) : width_(width), pieces_{{0, 0, width}} {}

  /// The place with the lowest bottom edge, of those the leftmost. The box is no wider than the sheet.
  Place put(const Box& box) {
    std::size_t best = 0;
    std::optional<Place> place;
    for (std::size_t i = 0; i < pieces_.size() && pieces_[i].x + box.width <= width_; ++i) {
      const auto y = highest(i, box.width);
      if (!place || y < place->y) {
        place = Place{pieces_[i].x, y};
        best = i;
      }
    }
    raise(best, box, place->y);
    return *place;
  }

 private:
  struct Piece {
    std::uint64_t x, y, width;
  };

  std::uint64_t highest(std::size_t first, std::uint64_t width) const {
    std::uint64_t y = 0;
    const auto end = pieces_[first].x + width;
    for (std::size_t i = first; i < pieces_.size() && pieces_[i].x < end; ++i) y = std::max(y, pieces_[i].y);
    return y;
  }

  void raise(std::size_t at, const Box& box, std::uint64_t y) {
    const auto begin = pieces_.begin() + static_cast<std::ptrdiff_t>(at);
    const auto left = begin->x, right = left + box.width;
    auto end = begin;
    while (end != pieces_.end() && end->x + end->width <= right) ++end;
    if (end != pieces_.end() && end->x < right) {  // Covered in part.
      end->width -= right - end->x;
      end->x = right;
    }
    const auto next = pieces_.insert(pieces_.erase(begin, end), Piece{left, y + box.height, box.width});
    (void)next;
  }

  std::uint64_t width_;
  std::vector<Piece> pieces_;
};

Placed pack_into(std::uint64_t width, const std::vector<Box>& boxes, const std::vector<std::size_t>& order) {
  Placed placed;
  placed.places.resize(boxes.size());
  Skyline skyline(width);
  for (const auto i : order) {
    const auto place = skyline.put(boxes[i]);
    placed.places[i] = place;
    placed.width = std::max(placed.width, place.x + boxes[i].width);
    placed.height = std::max(placed.height, place.y + boxes[i].height);
  }
  return placed;
}

Placed lay_out_grid(const std::vector<Box>& boxes, std::uint32_t columns) {
  Box cell{0, 0};
  for (const auto& box : boxes) cell = {std::max(cell.width, box.width), std::max(cell.height, box.height)};
  std::uint64_t across = columns;
  if (across == 0) {
    across = 1;
    while (across * cell.width < (boxes.size() + across - 1) / across * cell.height) ++across;
  }
  Placed placed;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    placed.places.push_back({i % across * cell.width, i / across * cell.height});
  }
  placed.width = std::min<std::uint64_t>(across, boxes.size()) * cell.width;
  placed.height = (boxes.size() + across - 1) / across * cell.height;
  return placed;
}

/// What surrounds the boxes and bounds the sheet.
struct Frame {
  std::uint64_t border, padding, limit;
  bool power_of_two;

  /// A side of the sheet over boxes that take up so much, the last padding too.
  std::uint64_t side(std::uint64_t used) const {
    const auto wanted = used - padding + 2 * border;
    return power_of_two ? std::bit_ceil(wanted) : wanted;
  }
  /// Room for boxes in a sheet of that side.
  std::uint64_t room(std::uint64_t side) const { return side + padding - std::min(side + padding, 2 * border); }
};

/// The smallest sheet over several widths; nullopt where none fits.
std::optional<Placed> pack(const std::vector<Box>& boxes, const Frame& frame) {
  std::vector<std::size_t> order(boxes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::tuple(boxes[b].height, boxes[b].width, a) < std::tuple(boxes[a].height, boxes[a].width, b);
  });
  std::uint64_t widest = 0, area = 0, largest_room = frame.room(frame.limit);
  for (const auto& box : boxes) {
    widest = std::max(widest, box.width);
    area += box.width * box.height;
  }
  if (widest > largest_room) return std::nullopt;
  std::vector<std::uint64_t> widths;
  if (frame.power_of_two) {
    for (std::uint64_t side = 1; side <= frame.limit; side *= 2) {
      if (frame.room(side) >= widest) widths.push_back(frame.room(side));
    }
  } else {
    // From about square to twice as wide.
    std::uint64_t square = 1;
    while (square * square < area) ++square;
    constexpr std::uint64_t tries = 16;
    for (std::uint64_t i = 0; i <= tries; ++i) {
      widths.push_back(std::clamp(square + square * i / tries, widest, largest_room));
    }
    widths.push_back(largest_room);  // What fits at all, fits here.
  }
  std::optional<Placed> best;
  std::tuple<std::uint64_t, std::uint64_t> least;
  std::uint64_t last = 0;
  for (const auto width : widths) {
    if (width == last) continue;
    last = width;
    auto placed = pack_into(width, boxes, order);
    const auto across = frame.side(placed.width), down = frame.side(placed.height);
    if (across > frame.limit || down > frame.limit) continue;
    const std::tuple size(across * down, std::max(across, down));
    if (!best || size < least) {
      least = size;
      best = std::move(placed);
    }
  }
  return best;
}

/// The frame's pixels, and around them its edge `extrude` times.
void draw(const Image& image, const SheetFrame& frame, std::uint32_t extrude, Image& sheet) {
  for (std::uint32_t row = 0; row < frame.height + 2 * extrude; ++row) {
    const auto from_row = std::clamp(row, extrude, extrude + frame.height - 1) - extrude;
    const auto* const from = row_of(image, frame, from_row);
    auto* to = sheet.rgba.data() + ((std::size_t{frame.y} - extrude + row) * sheet.width + frame.x - extrude) * 4;
    for (std::uint32_t i = 0; i < extrude; ++i, to += 4) std::memcpy(to, from, 4);
    std::memcpy(to, from, std::size_t{frame.width} * 4);
    to += std::size_t{frame.width} * 4;
    for (std::uint32_t i = 0; i < extrude; ++i, to += 4) std::memcpy(to, from + std::size_t{frame.width - 1} * 4, 4);
  }
}

Result<void> check_options(std::size_t count, const SheetOptions& options) {
  if (count < 1 || count > max_sheet_frames) {
    return invalid(fmt::format("count is {}; it must be 1 to {}", count, max_sheet_frames));
  }
  const auto at_most = [](std::uint64_t value, std::uint64_t most, const char* name) -> Result<void> {
    if (value <= most) return success();
    return invalid(fmt::format("{} is {}; it must be at most {}", name, value, most));
  };
  GF_TRYV(at_most(options.columns, count, "columns"));
  if (options.columns != 0 && options.layout != SheetLayout::grid) {
    return invalid(fmt::format("columns is {}; only a grid has columns", options.columns));
  }
  GF_TRYV(at_most(options.padding_px, max_padding_px, "padding_px"));
  GF_TRYV(at_most(options.border_px, max_padding_px, "border_px"));
  GF_TRYV(at_most(options.extrude_px, max_extrude_px, "extrude_px"));
  return at_most(options.max_side_px, max_image_side_px, "max_side_px");
}

Result<void> check_atlas(std::span<const SheetFrame> frames, std::uint32_t width_px, std::uint32_t height_px,
                         const AtlasOptions& options) {
  if (frames.empty() || frames.size() > max_sheet_frames) {
    return invalid(fmt::format("count is {}; it must be 1 to {}", frames.size(), max_sheet_frames));
  }
  const auto inside = [](std::uint64_t at, std::uint64_t size, std::uint64_t side) {
    return size != 0 && at + size <= side;
  };
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto& frame = frames[i];
    if (!inside(frame.x, frame.width, width_px) || !inside(frame.y, frame.height, height_px)) {
      return invalid(fmt::format("frames[{}] is {}x{} at {}, {}; the sheet is {}x{}", i, frame.width, frame.height,
                                 frame.x, frame.y, width_px, height_px));
    }
    if (!inside(frame.trim_x, frame.width, frame.source_width) ||
        !inside(frame.trim_y, frame.height, frame.source_height)) {
      return invalid(fmt::format("frames[{}] is {}x{} at {}, {} of a source of {}x{}", i, frame.width, frame.height,
                                 frame.trim_x, frame.trim_y, frame.source_width, frame.source_height));
    }
  }
  if (!options.names.empty() && options.names.size() != frames.size()) {
    return invalid(fmt::format("{} names are given for {} frames", options.names.size(), frames.size()));
  }
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < options.names.size(); ++i) {
    const auto& name = options.names[i];
    if (first_invalid_utf8(name)) return invalid(fmt::format("names[{}], {}, is not UTF-8", i, shown(name)));
    if (!seen.insert(name).second) return invalid(fmt::format("names[{}], {}, is there twice", i, shown(name)));
  }
  if (first_invalid_utf8(options.image_name)) return invalid("image_name is not UTF-8");
  if (!options.durations_ms.empty() && options.durations_ms.size() != frames.size()) {
    return invalid(fmt::format("{} durations are given for {} frames", options.durations_ms.size(), frames.size()));
  }
  for (std::size_t i = 0; i < options.tags.size(); ++i) {
    const auto& tag = options.tags[i];
    if (first_invalid_utf8(tag.name)) return invalid(fmt::format("tags[{}].name is not UTF-8", i));
    if (tag.from > tag.to || tag.to >= frames.size()) {
      return invalid(
          fmt::format("tags[{}] goes from frame {} to {}; there are {} frames", i, tag.from, tag.to, frames.size()));
    }
  }
  return success();
}

void write_rectangle(JsonText& out, std::string_view key, std::uint32_t x, std::uint32_t y, std::uint32_t width,
                     std::uint32_t height) {
  out.key(key).begin_object().member("x", x).member("y", y).member("w", width).member("h", height).end_object();
}

void write_size(JsonText& out, std::string_view key, std::uint32_t width, std::uint32_t height) {
  out.key(key).begin_object().member("w", width).member("h", height).end_object();
}

}  // namespace

Result<Sheet> pack_sheet(std::span<const Image* const> images, const SheetOptions& options) {
  GF_TRYV(check_options(images.size(), options));
  Sheet sheet;
  for (const auto* image : images) {
    GF_TRYV(check_image(*image));
    sheet.frames.push_back(options.trim
                               ? trimmed(*image)
                               : SheetFrame{0, 0, image->width, image->height, 0, 0, image->width, image->height});
  }
  std::vector<std::size_t> first(images.size());
  std::iota(first.begin(), first.end(), std::size_t{0});
  if (options.merge_duplicates) first = first_equals(images, sheet.frames);

  const std::uint64_t around = std::uint64_t{2} * options.extrude_px + options.padding_px;
  std::vector<Box> boxes;
  std::vector<std::size_t> box_of(images.size());
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (first[i] != i) continue;
    box_of[i] = boxes.size();
    boxes.push_back({sheet.frames[i].width + around, sheet.frames[i].height + around});
  }
  const std::uint64_t limit = options.max_side_px == 0 ? max_image_side_px : options.max_side_px;
  const Frame frame{options.border_px, options.padding_px, limit, options.power_of_two};
  const auto placed =
      options.layout == SheetLayout::grid
          ? std::optional(
                lay_out_grid(boxes, std::min<std::uint32_t>(options.columns, static_cast<std::uint32_t>(boxes.size()))))
          : pack(boxes, frame);
  if (!placed || frame.side(placed->width) > limit || frame.side(placed->height) > limit) {
    return invalid(fmt::format("the {} frames do not fit into a sheet of {}x{} pixels", images.size(), limit, limit));
  }
  sheet.image.width = static_cast<std::uint32_t>(frame.side(placed->width));
  sheet.image.height = static_cast<std::uint32_t>(frame.side(placed->height));
  sheet.image.rgba.resize(sheet.image.byte_count());
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto& place = placed->places[box_of[first[i]]];
    auto& one = sheet.frames[i];
    one.x = static_cast<std::uint32_t>(place.x) + options.border_px + options.extrude_px;
    one.y = static_cast<std::uint32_t>(place.y) + options.border_px + options.extrude_px;
    if (first[i] == i) draw(*images[i], one, options.extrude_px, sheet.image);
  }
  return sheet;
}

Result<std::string> atlas_json(std::span<const SheetFrame> frames, std::uint32_t width_px, std::uint32_t height_px,
                               const AtlasOptions& options) {
  GF_TRYV(check_atlas(frames, width_px, height_px, options));
  const bool hash = options.format == AtlasFormat::aseprite_hash || options.format == AtlasFormat::texturepacker_hash;
  const bool aseprite = options.format == AtlasFormat::aseprite_hash || options.format == AtlasFormat::aseprite_array;
  if (!aseprite && !options.tags.empty()) {
    return Error{Status::unsupported, "tags are given; TexturePacker's shapes have none", {}};
  }
  JsonText out;
  out.begin_object().key("frames");
  hash ? out.begin_object() : out.begin_array();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto& frame = frames[i];
    const auto name = options.names.empty() ? fmt::format("{}", i) : options.names[i];
    if (hash) out.key(name);
    out.begin_object();
    if (!hash) out.member("filename", name);
    write_rectangle(out, "frame", frame.x, frame.y, frame.width, frame.height);
    out.member("rotated", false);
    out.member("trimmed", frame.width != frame.source_width || frame.height != frame.source_height);
    write_rectangle(out, "spriteSourceSize", frame.trim_x, frame.trim_y, frame.width, frame.height);
    write_size(out, "sourceSize", frame.source_width, frame.source_height);
    if (aseprite) out.member("duration", options.durations_ms.empty() ? 100u : options.durations_ms[i]);
    out.end_object();
  }
  hash ? out.end_object() : out.end_array();
  out.key("meta").begin_object();
  out.member("app", std::string_view("gameforge")).member("version", options.version);
  if (!options.image_name.empty()) out.member("image", options.image_name);
  out.member("format", std::string_view("RGBA8888"));
  write_size(out, "size", width_px, height_px);
  out.member("scale", std::string_view("1"));
  if (aseprite) {
    out.key("frameTags").begin_array();
    for (const auto& tag : options.tags) {
      out.begin_object().member("name", tag.name).member("from", tag.from).member("to", tag.to);
      out.member("direction", std::string_view("forward")).end_object();
    }
    out.end_array();
  }
  out.end_object().end_object();
  return std::move(out).str();
}

}  // namespace gf::pipeline
