// Sprites cut out of a picture with a flat background: soft edges, and none of the background's colour in them.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"

#include <cstdint>
#include <optional>

namespace gf::pipeline {

struct SpriteOptions {
  std::optional<std::uint32_t> key = {};  ///< The background's colour, 0xRRGGBB; else the border's dominant one.
  std::uint32_t tolerance = 50;           ///< 1 to 1000, in 1/1000 of OKLab: how far background may be off the key.
  std::uint32_t border_share =
      500;                        ///< 1 to 1000, in 1/1000: of the border that must have the key for it to be dominant.
  std::uint32_t edge_px = 2;      ///< 0 to 8: how wide the edge is in which pixels may be half background. 0: hard.
  bool despill = true;            ///< Takes the background's part out of the colours of the edge.
  std::uint32_t enclosed_px = 0;  ///< Background that the subject encloses is cut out from this area on; 0: never.
};

/// What was cut.
struct Sprite {
  Image image;
  std::optional<std::uint32_t> key;  ///< The colour that was taken; none where the border was transparent already.
  std::uint32_t border_share = 0;    ///< In 1/1000: of the border that was background.
};

/// Cuts the subject out. Background is what a flood fill (4-connected) reaches from the border over pixels within the
/// tolerance of the key, and pixels that are transparent already. The distance is Euclid's in OKLab, because a
/// tolerance should mean the same in the dark as in the light and for every hue: 0.05 of linear light is 6 levels at
/// white and 63 at black.
///
/// A pixel of the edge (opaque, at most edge_px from background, or background that touches the subject) is taken as a
/// mixture of the key and of the nearest colour further inside, in encoded values, as painting programs and engines
/// blend: its alpha is the inside's share, and with despill its colour is what is left when the key's share is taken
/// out. Pixels that are no such mixture (off the line between the two by more than a third of its length, or where the
/// two differ by less than twice the tolerance) stay as they are. An outline whose colour lies between background and
/// inside cannot be told from a soft edge: edge_px = 0 keeps it. Colours under alpha 0 become those of the nearest
/// edge.
///
/// Integers throughout. Errors: those of check_image; invalid_argument for an option out of its range; not_found where
/// no key is given and the border has no dominant colour, with the figures.
Result<Sprite> cut_sprite(const Image& image, const SpriteOptions& options = {});

}  // namespace gf::pipeline
