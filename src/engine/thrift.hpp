// The rungs of the memory ladder that change how one job's backend calls are made.
#pragma once

#include "cache/memory_ladder.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace gf::engine {

/// How a job is done: the ladder's `plan` of its climb. Written and read by the job's executor; read by the backend's
/// threads.
struct JobPlan {
  std::atomic<std::uint32_t> thrift{0};  ///< GF_BACKEND_THRIFT_ bits of its calls from now on.
};

/// offload_parts: parts of the model are read for their stage and given back with it. The same pixels, and slower by
/// the reading. tile_vae: pictures of more than one tile are decoded tile by tile, which changes pixels.
std::vector<std::unique_ptr<cache::LadderRung>> make_thrift_rungs();

}  // namespace gf::engine
