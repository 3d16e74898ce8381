// What becomes of an image between the model and the game: enlarged, cut free of its background, laid out in a grid.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"

#include <cstdint>
#include <span>

namespace gf::pipeline {

/// Errors: invalid_argument when a side is not 1 to max_image_side_px, or `rgba` has not the bytes that the size needs.
Result<void> check_image(const Image& image);

/// Each pixel becomes a square of `factor` (1 to 64) pixels a side.
/// Errors: invalid_argument, also when the result would pass max_image_side_px.
Result<Image> upscale_nearest(const Image& image, std::uint32_t factor);

/// How a flat background is found.
struct KeyOptions {
  bool use_border = true;  ///< The colour is the commonest of the border's pixels; of equally common ones the darkest.
  std::uint8_t red = 0;    ///< The background's colour, where use_border is not set; the next two likewise.
  std::uint8_t green = 0;
  std::uint8_t blue = 0;
  std::uint8_t tolerance = 16;  ///< How far each channel of a background pixel may be off.
};

/// Makes the flat background transparent: a flood fill (4-connected) from the border over pixels within the tolerance
/// of the background's colour. Their alpha becomes 0, and their colour that of the nearest pixel that is kept, counted
/// in steps across the background, so that filtering and mipmaps show no rim of the old colour. Background that the
/// subject encloses is kept: nothing tells it from the subject.
///
/// Pixels that are transparent already are background whatever their colour, so that keying twice is keying once.
/// Errors: those of check_image.
Result<Image> key_background(const Image& image, const KeyOptions& options = {});

/// Lays images out row by row. A cell is as large as the largest image; smaller ones lie at its top left.
/// columns: 1 to the number of images; gap_px: between cells and around all, at most 1024; background: 0xRRGGBBAA.
/// Errors: invalid_argument, also when the result would pass max_image_side_px.
Result<Image> grid(std::span<const Image* const> images, std::uint32_t columns, std::uint32_t gap_px,
                   std::uint32_t background);

}  // namespace gf::pipeline
