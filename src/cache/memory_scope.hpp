// A memory scope: what one stage takes of a device while it lasts, with a limit of its own, and what is left at its
// end.
#pragma once

#include "base/result.hpp"
#include "cache/ledger.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace gf::cache {

/// One reservation that was not given back.
struct MemoryLeak {
  MemoryKind kind = MemoryKind::weights;
  std::uint64_t bytes = 0;
  std::uint64_t ordinal = 0;  ///< Which reservation of the scope it was, from 1.
  std::string label;          ///< The tag's, empty where it had none.
};

struct MemoryScopeReport {
  std::int64_t net_bytes = 0;        ///< Taken less given back; below 0 where it freed what was there before.
  std::uint64_t peak_bytes = 0;      ///< The most that it held at a time of what it took.
  std::uint64_t reservations = 0;    ///< That were granted.
  std::uint64_t refusals = 0;        ///< By the scope's own limit.
  std::uint64_t promises_ended = 0;  ///< Bytes that were promised, never taken, and given up at the end.
  std::uint64_t trimmed_bytes = 0;   ///< What the allocator gave back.
  std::vector<MemoryLeak> leaks;     ///< With records on: what net_bytes is made of.
  bool leaks_are_complete = true;    ///< False: there was no memory for all records.
};

struct MemoryScopeOptions {
  std::string name = {};  ///< In messages: "decode".
  MemoryStage stage = MemoryStage::none;
  Ledger::Owner* owner = nullptr;        ///< As MemoryTag's.
  std::uint64_t limit_bytes = no_limit;  ///< Of net_bytes.
  bool records = false;                  ///< Keeps a record of each reservation, to name what leaked.
  bool end_promises = true;              ///< Gives up at the end what was promised and never taken.
  /// Returns the allocator's cache to the device and answers how much it was. Empty: it is kept.
  std::function<std::uint64_t()> trim = {};
  /// Told at the end, once; what it throws is swallowed.
  std::function<void(const MemoryScopeReport&)> at_end = {};
};

/// Counts what its thread reserves, commits and releases of one device from construction to end(). Scopes nest as
/// blocks do: the inner one's bytes are the outer's too, and each limit holds. Threads: the one that made it.
class MemoryScope {
 public:
  MemoryScope(Ledger& ledger, std::uint32_t device, MemoryScopeOptions options);
  /// Ends it, if nobody has.
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

  /// As of now.
  std::int64_t net_bytes() const noexcept { return net_; }
  std::uint64_t peak_bytes() const noexcept { return static_cast<std::uint64_t>(peak_); }

  /// Does what the options say of its end. The innermost scope of its thread ends first; once.
  MemoryScopeReport end();

 private:
  friend class Ledger;

  void count(MemoryKind kind, std::int64_t bytes) noexcept;
  void promise(MemoryKind kind, std::int64_t bytes) noexcept;
  void record(MemoryKind kind, std::int64_t bytes) noexcept;
  std::optional<Error> refuse(std::uint64_t bytes);
  void leave() noexcept;

  Ledger& ledger_;
  const std::uint32_t device_;
  const MemoryScopeOptions options_;
  MemoryScope* const outer_;
  std::optional<MemoryTag> tag_;
  std::int64_t net_ = 0;
  std::int64_t peak_ = 0;
  std::uint64_t reservations_ = 0;
  std::uint64_t refusals_ = 0;
  std::array<std::int64_t, memory_kinds> promised_{};
  std::vector<MemoryLeak> records_;
  bool records_are_complete_ = true;
  bool ended_ = false;
};

}  // namespace gf::cache
