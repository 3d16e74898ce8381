// Images of calls that make new ones: handles in, handles out.
#pragma once

#include "base/result.hpp"
#include "gameforge/gameforge.h"
#include "pipeline/image.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace gf::capi {

/// As many as any call takes at once.
inline constexpr std::uint32_t max_images = 4096;

/// A new handle for what was made, or why it was not. clear_out has passed.
Result<void> give_image(Result<pipeline::Image> made, gf_image** out_image);

/// Images by their handles, which are kept alive while they are read.
struct FoundImages {
  std::vector<std::shared_ptr<const pipeline::Image>> shares;
  std::vector<const pipeline::Image*> pointers;
};

/// Errors: invalid_argument; invalid_handle, with the place.
Result<FoundImages> find_images(gf_image* const* handles, std::uint32_t count);

}  // namespace gf::capi
