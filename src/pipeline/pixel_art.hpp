// Pixel art out of a picture: fewer cells, fewer colours, an alpha that is there or not.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"
#include "pipeline/palette.hpp"

#include <cstdint>

namespace gf::pipeline {

/// Which colour a cell gets.
enum class CellColour : std::uint32_t {
  majority = 0,  ///< The mean of the cell's commonest colours, told apart by the upper four bits of each channel.
  centre = 1,    ///< That of the pixel in its middle, of the lower right one of four.
};

/// How a colour that the palette lacks is mixed from those that it has.
enum class Dither : std::uint32_t {
  none = 0,             ///< The nearest colour.
  bayer = 1,            ///< Two colours by an ordered pattern of 8 x 8 cells, which repeats: still areas stay still.
  floyd_steinberg = 2,  ///< The error is passed on to the neighbours, row by row there and back.
};

struct PixelArtOptions {
  std::uint32_t cell_px = 1;   ///< Pixels of the picture a cell, across and down; 1 keeps the size.
  std::uint32_t width_px = 0;  ///< Size of the result, instead of cell_px; both or neither, no larger than the picture.
  std::uint32_t height_px = 0;
  CellColour cell_colour = CellColour::majority;
  Palette palette = {};                ///< The colours that the result may have; empty: `colours` of its own.
  std::uint32_t colours = 0;           ///< As many are found with find_palette, in the cells; 0: any colour stays.
  Dither dither = Dither::none;        ///< Needs a palette or colours.
  std::uint32_t dither_percent = 100;  ///< 0 (as none) to 100.
  std::uint8_t alpha_threshold = 128;  ///< 1 to 255: a cell is opaque from here on, else RGBA 0, 0, 0, 0.
};

/// Makes cells of the picture's pixels, gives each a colour, and that colour's nearest of the palette in OKLab (of
/// equally near ones the first). A cell is transparent where its centre is, or more than half of it. A row of cells [x]
/// covers the pixels from x * width / cells to (x + 1) * width / cells, rounded down.
///
/// Dithering is done in OKLab, which is even to the eye as single cells are seen; at a distance, where cells melt, the
/// mixture looks lighter than the picture, as it does in every tool that mixes encoded values.
///
/// All in integers: equal pixels and options give equal pixels.
/// Errors: those of check_image; invalid_argument for an option out of its range; those of find_palette but not_found:
/// a picture without an opaque cell has no colours and needs none.
Result<Image> pixelate(const Image& image, const PixelArtOptions& options);

}  // namespace gf::pipeline
