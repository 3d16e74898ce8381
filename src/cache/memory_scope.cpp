#include "cache/memory_scope.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace gf::cache {

MemoryScope::MemoryScope(Ledger& ledger, std::uint32_t device, MemoryScopeOptions options)
    : ledger_(ledger), device_(device), options_(std::move(options)), outer_(MemoryTag::thread().scope) {
  // Where it names nobody, what is taken in it stays the tag's that is there.
  if (options_.owner != nullptr) tag_.emplace(ledger, device, options_.owner, options_.stage, options_.name);
  MemoryTag::thread().scope = this;
}

MemoryScope::~MemoryScope() {
  if (ended_) return;
  try {
    (void)end();
  } catch (...) {  // Without memory for the report; the scope is over all the same.
    leave();
  }
}

void MemoryScope::leave() noexcept {
  if (std::exchange(ended_, true)) return;
  MemoryTag::thread().scope = outer_;
  tag_.reset();
}

void MemoryScope::count(MemoryKind kind, std::int64_t bytes) noexcept {
  net_ += bytes;
  peak_ = std::max(peak_, net_);
  if (bytes > 0) ++reservations_;
  if (options_.records && bytes != 0) record(kind, bytes);
}

void MemoryScope::promise(MemoryKind kind, std::int64_t bytes) noexcept {
  promised_[static_cast<std::size_t>(kind)] += bytes;
}

void MemoryScope::record(MemoryKind kind, std::int64_t bytes) noexcept {
  if (bytes > 0) {
    try {
      const auto* tag = MemoryTag::thread().tag;
      records_.push_back({kind, static_cast<std::uint64_t>(bytes), reservations_,
                          std::string(tag == nullptr ? std::string_view() : tag->label())});
    } catch (...) {
      records_are_complete_ = false;
    }
    return;
  }
  // The seam gives back bytes and not pieces: the newest of that size, else the newest of that kind, as far as it goes.
  auto left = static_cast<std::uint64_t>(-bytes);
  const auto same = std::find_if(records_.rbegin(), records_.rend(),
                                 [&](const MemoryLeak& at) { return at.kind == kind && at.bytes == left; });
  if (same != records_.rend()) {
    records_.erase(std::next(same).base());
    return;
  }
  for (auto at = records_.size(); at-- > 0 && left > 0;) {
    if (records_[at].kind != kind) continue;
    const auto taken = std::min(left, records_[at].bytes);
    left -= taken;
    records_[at].bytes -= taken;
    if (records_[at].bytes == 0) records_.erase(records_.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

std::optional<Error> MemoryScope::refuse(std::uint64_t bytes) {
  const auto held = static_cast<std::uint64_t>(std::max<std::int64_t>(net_, 0));
  if (options_.limit_bytes == no_limit || (held <= options_.limit_bytes && bytes <= options_.limit_bytes - held)) {
    return std::nullopt;
  }
  ++refusals_;
  return Error{Status::over_budget,
               fmt::format("{} bytes were asked in the memory scope {}, which holds {} of at most {}", bytes,
                           options_.name, held, options_.limit_bytes),
               {}}
      .with("scope", options_.name)
      .with("needed_bytes", fmt::to_string(bytes))
      .with("held_bytes", fmt::to_string(held))
      .with("limit_bytes", fmt::to_string(options_.limit_bytes));
}

MemoryScopeReport MemoryScope::end() {
  MemoryScopeReport report;
  if (ended_) return report;
  for (std::size_t kind = 0; options_.end_promises && kind < memory_kinds; ++kind) {
    if (promised_[kind] <= 0) continue;
    const auto bytes = static_cast<std::uint64_t>(promised_[kind]);
    ledger_.release(device_, static_cast<MemoryKind>(kind), bytes, false);
    report.promises_ended += bytes;
  }
  leave();
  if (options_.trim) report.trimmed_bytes = options_.trim();
  report.net_bytes = net_;
  report.peak_bytes = peak_bytes();
  report.reservations = reservations_;
  report.refusals = refusals_;
  report.leaks = std::move(records_);
  report.leaks_are_complete = records_are_complete_;
  if (options_.at_end) {
    try {
      options_.at_end(report);
    } catch (...) {  // NOLINT(bugprone-empty-catch): it is a listener's own affair.
    }
  }
  return report;
}

}  // namespace gf::cache
