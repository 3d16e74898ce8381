// The host's table as C++: files, log, ledger and cancellation that belong to the other side of the seam.
#pragma once

#include "base/files.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "pipeline/backend_abi.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace gf::torch {

/// A fresh error struct to pass across, and what it then holds.
struct SeamError {
  gf_backend_error raw;
  SeamError();
  Error take() const;
};

/// Threads: any.
class Host {
 public:
  explicit Host(const gf_backend_host* table) : table_(table) {}

  /// Errors: those of ReadFile::open.
  Result<std::unique_ptr<ByteSource>> open(const std::string& path) const;
  /// A small text file.
  Result<std::string> read_text(const std::string& path, std::uint64_t limit_bytes) const;
  /// Whether `path` can be opened as a file; any problem counts as no.
  bool has_file(const std::string& path) const;

  bool log_enabled(LogLevel level) const;
  void log(LogLevel level, const std::string& message) const;
  std::int64_t now_us() const;

  Result<void> reserve(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes) const;
  void commit(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes) const;
  void release(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes, bool committed) const;

 private:
  const gf_backend_host* table_;
};

/// Bytes that the ledger holds for us; given back with this object.
class Charge {
 public:
  Charge() = default;
  /// Reserves; the bytes count as reserved until commit().
  static Result<Charge> reserve(const Host& host, std::uint32_t device, gf_backend_memory_kind kind,
                                std::uint64_t bytes);
  void commit();
  std::uint64_t bytes() const { return bytes_; }

  Charge(Charge&& other) noexcept;
  Charge& operator=(Charge&& other) noexcept;
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  ~Charge();

 private:
  const Host* host_ = nullptr;  // Outlives every charge: the backend owns both.
  std::uint32_t device_ = 0;
  gf_backend_memory_kind kind_ = GF_BACKEND_MEMORY_WEIGHTS;
  std::uint64_t bytes_ = 0;
  bool committed_ = false;
};

/// One call into the backend. Not synchronised.
class Call {
 public:
  explicit Call(const gf_backend_call* raw) : raw_(raw) {}
  bool cancelled() const { return raw_->cancelled != nullptr && raw_->cancelled(raw_->context) != 0; }
  /// Errors: cancelled, when the job is.
  Result<void> check() const;
  void progress(gf_backend_stage stage, std::uint64_t done, std::uint64_t total) const {
    if (raw_->progress != nullptr) raw_->progress(raw_->context, stage, done, total);
  }
  std::uint32_t threads() const { return raw_->threads == 0 ? 1 : raw_->threads; }

 private:
  const gf_backend_call* raw_;
};

/// Progress of a load over all parts of a model, in bytes of memory.
struct LoadProgress {
  const Call& call;
  std::uint64_t total = 0;
  std::uint64_t done = 0;

  Result<void> advance(std::uint64_t bytes) {
    done += bytes;
    call.progress(GF_BACKEND_STAGE_LOADING, done, total);
    return call.check();
  }
};

}  // namespace gf::torch
