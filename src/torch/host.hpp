// The host's table as C++: files, log, ledger and cancellation that belong to the other side of the seam.
#pragma once

#include "base/files.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "pipeline/backend_abi.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace gf::torch {

/// A fresh error struct to pass across, and what it then holds.
struct SeamError {
  gf_backend_error raw;
  SeamError();
  Error take() const;
};

class Charge;

/// What the tensors of one host hold of its ledger. They share it, since libtorch keeps some for longer than the host
/// lives. Threads: any.
class LedgerAccount {
 public:
  explicit LedgerAccount(const gf_backend_host* table) : table_(table) {}
  LedgerAccount(const LedgerAccount&) = delete;
  LedgerAccount& operator=(const LedgerAccount&) = delete;

  /// Whether the bytes were charged: not after close(). Errors: those of the ledger.
  Result<bool> take(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes, Charge* promised);
  void release(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes) noexcept;
  /// The host goes: what is still held is given back to its ledger, and not told it again.
  void close() noexcept;

  LedgerAccount* share() noexcept {
    ++shares_;
    return this;
  }
  void drop() noexcept {
    if (--shares_ == 0) delete this;
  }

 private:
  ~LedgerAccount() = default;
  static constexpr std::size_t kinds = 3;

  std::mutex mutex_;
  const gf_backend_host* table_;  // Guarded by mutex_, as the next; nullptr once it is closed.
  std::map<std::uint32_t, std::array<std::uint64_t, kinds>> held_;  // By device.
  std::atomic<std::uint64_t> shares_{1};
};

/// Threads: any.
class Host {
 public:
  explicit Host(const gf_backend_host* table) : table_(table), account_(new LedgerAccount(table)) {}
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host() {
    account_->close();
    account_->drop();
  }

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

  LedgerAccount& account() const { return *account_; }

 private:
  const gf_backend_host* table_;
  LedgerAccount* account_;
};

/// Bytes that the ledger holds for us; given back with this object.
class Charge {
 public:
  Charge() = default;
  /// Reserves; the bytes count as reserved until commit().
  static Result<Charge> reserve(const Host& host, std::uint32_t device, gf_backend_memory_kind kind,
                                std::uint64_t bytes);
  void commit();
  /// What is still promised, or held by commit().
  std::uint64_t bytes() const { return bytes_; }
  /// Takes bytes out of the promise, for somebody who has them and gives them back; false where there are fewer left.
  bool spend(std::uint64_t bytes);
  /// Gives up what is left of the promise.
  void end() { *this = Charge(); }

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
  /// GF_BACKEND_THRIFT_ bits.
  bool is_thrifty(std::uint32_t bit) const { return (raw_->thrift & bit) != 0; }

 private:
  const gf_backend_call* raw_;
};

/// Progress of a load over all parts of a model, in bytes of memory.
struct LoadProgress {
  const Call& call;
  std::uint64_t total = 0;
  std::uint64_t done = 0;
  bool told = true;  ///< Whether it is shown, and not only asked for cancellation.

  Result<void> advance(std::uint64_t bytes) {
    done += bytes;
    if (told) call.progress(GF_BACKEND_STAGE_LOADING, done, total);
    return call.check();
  }
};

}  // namespace gf::torch
