// Palettes: the few colours of pixel art, read from a file or found in pictures.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace gf::pipeline {

/// Colours as 0xRRGGBB, each once, in an order that means something to whoever made it.
using Palette = std::vector<std::uint32_t>;

/// As many as a PNG's palette, and one byte a pixel, can tell apart.
inline constexpr std::uint32_t max_palette_colours = 256;
/// Far more than so many colours with names need.
inline constexpr std::uint64_t max_palette_file_bytes = 1 << 20;

/// Reads GIMP's palette (.gpl, "GIMP Palette" in the first line; with the fourth number that Aseprite adds after
/// "Channels: RGBA") or a list of hexadecimal colours (.hex, RRGGBB a line, as Lospec gives them; a leading # is passed
/// over, and so are lines that begin with ;). Which of the two it is, its first line says. A colour that stands there
/// twice is taken once, at its first place.
///
/// `name` stands for the file in messages, which name the line: "pico8.hex:3: ...". Errors: syntax_error;
/// unsupported_format for a colour that is half transparent; payload_too_large past max_palette_colours or
/// max_palette_file_bytes.
Result<Palette> parse_palette(std::string_view text, std::string_view name);

/// At most `colours` (1 to 256) that stand for all pixels of the images with an alpha of 128 or more, dark ones first.
/// Images with no more colours than that give exactly theirs. Boxes of OKLab are halved at their mean where the squared
/// error is largest (after X. Wu, "Efficient statistical computations for optimal color quantization", 1991), then
/// k-means moves their means, at most 12 rounds. All in integers: equal pixels give equal palettes. Past 32768
/// different colours the pixels are first gathered in 32 x 32 x 32 bins of sRGB.
///
/// Errors: those of check_image; invalid_argument for no image or `colours` out of its range; not_found where every
/// pixel is transparent.
Result<Palette> find_palette(std::span<const Image* const> images, std::uint32_t colours);

/// Errors: invalid_argument unless it has 1 to 256 colours, each at most 0xFFFFFF. A colour that stands there twice is
/// no error.
Result<void> check_palette(std::span<const std::uint32_t> palette);

}  // namespace gf::pipeline
