// What the tests of the backend share: models on disk that can be damaged, and calls that can be cancelled.
#pragma once

#include "base/files.hpp"
#include "file_host.hpp"
#include "files.hpp"
#include "torch/allocator.hpp"
#include "torch/model.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace fixtures {

namespace fs = std::filesystem;
using gf::test::TemporaryFolder;

/// As in the backend: before libtorch has allocated anything.
inline const bool allocator_is_installed = (gf::torch::install_ledger_allocator(), true);

inline fs::path golden_model() { return fs::path(GOLDEN_DIR) / "models/sdxl"; }

/// Of the tokenizer in a folder of that model.
inline gf::torch::Tokenizer::Files files_of(const std::string& part) {
  const auto folder = (golden_model() / part).string();
  gf::torch::Tokenizer::Files files;
  files.vocabulary_path = folder + "/vocab.json";
  files.merges_path = folder + "/merges.txt";
  files.config_path = folder + "/tokenizer_config.json";
  files.vocabulary = gf::read_text(files.vocabulary_path, 64 << 20).value();
  files.merges = gf::read_text(files.merges_path, 64 << 20).value();
  files.config = gf::read_text(files.config_path, 1 << 20).value();
  return files;
}

/// A call on two threads whose answer to "cancelled?" is a function.
class TestCall {
 public:
  explicit TestCall(std::function<bool()> cancelled = [] { return false; }) : cancelled_(std::move(cancelled)) {
    raw_ = {sizeof raw_,
            2,
            this,
            [](void* self) -> std::uint32_t { return static_cast<TestCall*>(self)->cancelled_() ? 1 : 0; },
            [](void* self, std::uint32_t stage, std::uint64_t done, std::uint64_t total) {
              auto& call = *static_cast<TestCall*>(self);
              if (call.on_progress) call.on_progress(stage, done, total);
            },
            0,
            0};
  }
  TestCall(const TestCall&) = delete;
  TestCall& operator=(const TestCall&) = delete;

  std::function<void(std::uint32_t stage, std::uint64_t done, std::uint64_t total)> on_progress;
  const gf::torch::Call& call() const { return call_; }
  /// GF_BACKEND_THRIFT_ bits of what is called from now on.
  void set_thrift(std::uint32_t bits) { raw_.thrift = bits; }

 private:
  std::function<bool()> cancelled_;
  gf_backend_call raw_{};
  gf::torch::Call call_{&raw_};
};

/// A model that is loaded, and what it reads with.
struct Loaded {
  support::FileHost files;
  gf::torch::Host host{files.table()};
  TestCall call;
  std::unique_ptr<gf::torch::Model> model;

  explicit Loaded(const std::string& folder) {
    const c10::InferenceMode inference;
    auto loaded = gf::torch::Model::load(host, folder, 0, call.call());
    DOCTEST_REQUIRE(loaded.has_value());
    model = std::move(loaded).assume_value();
  }
};

}  // namespace fixtures
