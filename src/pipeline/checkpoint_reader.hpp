// How a checkpoint is read: its architecture from names and shapes, and for each file of the folder that it stands for
// where its bytes are. Of checkpoint.cpp alone.
#pragma once

#include "base/json.hpp"
#include "base/result.hpp"
#include "base/safetensors.hpp"
#include "pipeline/checkpoint.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gf::pipeline {

/// A stretch of a file that is put together: bytes of the checkpoint, or of memory.
struct Checkpoint::Piece {
  std::uint64_t start = 0;  // In the file that is put together.
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;  // In the checkpoint.
  std::vector<std::byte> memory;
};

/// What stands for one file of the folder.
struct Checkpoint::File {
  std::string head;  // Its first bytes: the whole of a text, or the header of a weights file.
  std::vector<Piece> pieces;
  std::uint64_t size = 0;
};

using CheckpointFiles = std::map<std::string, std::shared_ptr<const Checkpoint::File>, std::less<>>;

/// sidecar: an object, or null. Errors: those of Checkpoint::open.
Result<CheckpointFiles> read_checkpoint(const Safetensors& file, const Json* sidecar);

}  // namespace gf::pipeline
