// How well a texture joins itself where it is tiled.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"

namespace gf::pipeline {

/// The seam of one axis. Differences are means over all pairs of neighbours and the three colours, in levels of 0 to
/// 255.
struct Seam {
  double score = 1;       ///< edge over inner; neither counts less than half a level, which is what rounding makes.
  double edge = 0;        ///< Between the last column (row) and the first, which lie side by side in a tiled plane.
  double inner = 0;       ///< Between neighbours inside the image.
  double inner_most = 0;  ///< Of the two columns (rows) inside that differ most.
};

struct SeamScore {
  Seam x;  ///< Of columns: where the image repeats to the right.
  Seam y;  ///< Of rows: where it repeats downwards.
};

/// Compares an image's opposite edges with its inside: 1 where they differ as neighbours inside do, less where the
/// picture happens to be calm there, more where a seam shows. The difference of two pixels is the sum over red, green,
/// blue (each times alpha / 255, so that colours under alpha 0 do not count) and alpha of the absolute differences,
/// over 3. An axis of one pixel has the score 1. Errors: those of check_image.
Result<SeamScore> seam_score(const Image& image);

}  // namespace gf::pipeline
