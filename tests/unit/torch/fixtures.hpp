// What the tests of the backend share: models on disk that can be damaged, and calls that can be cancelled.
#pragma once

#include "file_host.hpp"
#include "torch/model.hpp"

#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace fixtures {

namespace fs = std::filesystem;

inline fs::path golden_model() { return fs::path(GOLDEN_DIR) / "models/sdxl"; }

/// A folder that is gone with this object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = fs::temp_directory_path() / "gameforge-torch-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder could be made");
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// A call on two threads whose answer to "cancelled?" is a function.
class TestCall {
 public:
  explicit TestCall(std::function<bool()> cancelled = [] { return false; }) : cancelled_(std::move(cancelled)) {
    raw_ = {sizeof raw_, 2, this,
            [](void* self) -> std::uint32_t { return static_cast<TestCall*>(self)->cancelled_() ? 1 : 0; },
            [](void* self, std::uint32_t stage, std::uint64_t done, std::uint64_t total) {
              auto& call = *static_cast<TestCall*>(self);
              if (call.on_progress) call.on_progress(stage, done, total);
            }};
  }
  TestCall(const TestCall&) = delete;
  TestCall& operator=(const TestCall&) = delete;

  std::function<void(std::uint32_t stage, std::uint64_t done, std::uint64_t total)> on_progress;
  const gf::torch::Call& call() const { return call_; }

 private:
  std::function<bool()> cancelled_;
  gf_backend_call raw_{};
  gf::torch::Call call_{&raw_};
};

}  // namespace fixtures
