// The host's side of the backend seam over plain files, for tests of the backend: what it reads, reserves and logs can
// be watched, and any of it can be made to go wrong.
#pragma once

#include "base/files.hpp"
#include "pipeline/backend_abi.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace support {

class FileHost {
 public:
  FileHost();
  FileHost(const FileHost&) = delete;
  FileHost& operator=(const FileHost&) = delete;

  const gf_backend_host* table() const { return &table_; }

  /// Called before each read with the file's path and how many reads of that file came before.
  std::function<void(const std::string& path, std::uint64_t reads_before)> before_read;
  /// Bytes that may be held; a reservation past it is refused with 206.
  std::uint64_t limit_bytes = UINT64_MAX;

  std::uint64_t held_bytes() const { return held_; }
  std::uint64_t peak_bytes() const { return peak_; }
  std::uint64_t open_files() const { return open_files_; }
  std::vector<std::string> take_log();

 private:
  gf_backend_host table_{};
  std::atomic<std::uint64_t> held_{0};
  std::atomic<std::uint64_t> peak_{0};
  std::atomic<std::uint64_t> open_files_{0};
  std::mutex mutex_;
  std::vector<std::string> log_;  // Guarded by mutex_.
};

}  // namespace support
