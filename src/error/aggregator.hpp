// Error aggregation: which of ten thousand errors matter, told by groups, spikes and patterns, in fixed memory.
#pragma once

#include "base/result.hpp"
#include "error/fingerprint.hpp"
#include "error/spike.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gf::error {

/// What an error belongs to; empty where it belongs to none. At most 47 bytes of each are kept.
struct ErrorTags {
  std::string_view model = {};
  std::string_view user = {};
  std::string_view device = {};
};

/// Hears of every error that an aggregator takes, on the thread that records it: it must not wait. (ErrorStore is one.)
class ErrorObserver {
 public:
  virtual ~ErrorObserver() = default;
  virtual void observe(const Error& error, const ErrorTags& tags) noexcept = 0;
  virtual void observe_text(std::string_view module, std::string_view text, Severity severity,
                            const ErrorTags& tags) noexcept = 0;
};

struct AggregatorOptions {
  std::uint32_t group_limit = 4096;             ///< 1 to 65535. About 1.6 KiB a group, taken as groups appear.
  std::uint32_t template_limit = 1000;          ///< Of them, groups of foreign texts; 1 to group_limit.
  std::int64_t cooldown_us = 300'000'000;       ///< A group that was resolved alarms again only after this. At least 0.
  std::int64_t still_every_us = 3'600'000'000;  ///< How often an alarm that stands is told again; at least 1 s.
  Severity alert_from = Severity::warning;      ///< Groups below raise no alarm.
  std::uint32_t alert_limit = 256;  ///< Alarms kept for next_alert; the oldest go first, counted. At least 1.
  SpikeOptions spike;
  std::shared_ptr<ErrorObserver> observer;  ///< Shared with the host, which may close it first; may be null.
};

/// One group, as it is now.
struct ErrorGroup {
  std::uint64_t fingerprint = 0;
  bool foreign_text = false;  ///< Told by a template; else by codes and places.
  Status status = Status::internal;
  Severity severity = Severity::error;  ///< The highest seen.
  std::string title;                    ///< The template, or status and place.
  std::string sample;                   ///< The newest message, up to 191 bytes.
  std::int64_t first_us = 0;
  std::int64_t last_us = 0;
  std::uint64_t total = 0;
  std::uint64_t in_window = 0;                 ///< Of the window that was asked for.
  std::array<std::uint64_t, 5> by_severity{};  ///< Indexed by Severity.
  std::string first_version;                   ///< The version that it was first seen in.
  bool alarming = false;
};

struct ErrorAlert {
  enum class What : std::uint32_t { opened = 0, still = 1, resolved = 2 };
  What what = What::opened;
  std::uint64_t fingerprint = 0;
  std::int64_t at_us = 0;
  SpikeChange spike;  ///< What showed it; of `still` the one that opened, with the count so far.
  ErrorGroup group;
};

struct ErrorPatterns {
  /// Groups that come in the same minutes: at least 5 in the last hour, and at least 4 of 5 in common.
  struct Together {
    std::uint64_t one = 0;
    std::uint64_t other = 0;
    double share = 0;  ///< Minutes in common by minutes of either (Jaccard's index).
  };
  /// Nine of ten errors of a group, at least 10, belong to one model, user or device, while the others' do not.
  struct Tied {
    std::uint64_t fingerprint = 0;
    std::string to;  ///< "model", "user" or "device".
    std::string value;
    double share = 0;
  };
  std::vector<Together> together;
  std::vector<Tied> tied;
  std::vector<std::uint64_t> new_in_version;  ///< First seen since set_version; empty where no version came before.
};

struct AggregatorStatistics {
  std::uint64_t errors = 0;
  std::uint64_t groups = 0;
  std::uint64_t evicted_groups = 0;
  std::uint64_t evicted_errors = 0;  ///< Errors of groups that went: "other".
  std::uint64_t lost_errors = 0;     ///< Came when there was no memory for a group.
  std::uint64_t alerts_dropped = 0;
  std::uint64_t alerts_held_back = 0;  ///< By a cooldown.
  std::uint64_t bytes = 0;
};

/// Collects errors in groups of the same fingerprint. When there are too many groups the one seen least recently goes,
/// alarming ones last; its errors are counted as "other".
///
/// Time: passed in, microseconds that do not fall (Unix time where people read them).
/// Threads: any. One lock, held for under a microsecond by record() but longer by top() and patterns(): threads of a
/// low class hand their errors to others.
class ErrorAggregator {
 public:
  /// start_us: since when errors are counted. Errors: invalid_argument names the option.
  static Result<std::unique_ptr<ErrorAggregator>> create(const AggregatorOptions& options, std::int64_t start_us);
  ~ErrorAggregator();

  void record(const Error& error, const ErrorTags& tags, std::int64_t now_us) noexcept;
  void record(const CodedError& error, const ErrorTags& tags, std::int64_t now_us) noexcept;
  /// A text of somebody else's that has no code. `module` says whose, and is part of the fingerprint.
  void record_text(std::string_view module, std::string_view text, Severity severity, const ErrorTags& tags,
                   std::int64_t now_us) noexcept;
  /// Lets alarms end and slow growth show. Whoever owns it calls it about once a second while needs_tick(), else at
  /// least once a day; it need not be called while nothing happens.
  void tick(std::int64_t now_us) noexcept;
  bool needs_tick() const noexcept;

  std::optional<ErrorAlert> next_alert();
  /// The groups with most errors in the last `window_us` (up to a day), most first.
  std::vector<ErrorGroup> top(std::int64_t now_us, std::int64_t window_us, std::size_t count) const;
  std::optional<ErrorGroup> find(std::uint64_t fingerprint, std::int64_t now_us) const;
  ErrorPatterns patterns(std::int64_t now_us) const;
  /// From now on groups are new or old by this version.
  void set_version(std::string_view version);
  AggregatorStatistics statistics() const;

 private:
  struct Group;
  struct Incoming;
  static constexpr std::uint16_t none = 0xFFFF;

  ErrorAggregator(const AggregatorOptions& options, std::int64_t start_us);
  void take(const Incoming& incoming, std::int64_t now_us) noexcept;
  Group& group(std::uint16_t index) const;
  std::uint16_t lookup(std::uint64_t fingerprint) const;
  std::uint16_t insert(std::uint64_t fingerprint, bool foreign_text);
  void erase(std::uint16_t index);
  void unlink(std::uint16_t index);
  void link_newest(std::uint16_t index);
  std::uint16_t least_recent(bool foreign_text) const;
  void follow(std::uint16_t index, const std::optional<SpikeChange>& change, std::int64_t now_us);
  void alert(ErrorAlert::What what, std::uint16_t index, const SpikeChange& spike, std::int64_t now_us);
  ErrorGroup describe(const Group& group, std::int64_t now_us, std::int64_t window_us) const;

  const AggregatorOptions options_;
  const std::int64_t start_us_;
  mutable std::mutex mutex_;
  // Guarded by mutex_, all of the following.
  std::vector<std::unique_ptr<Group[]>> blocks_;
  std::vector<std::uint16_t> free_;
  std::vector<std::uint16_t> index_;  // Open addressing by the fingerprint, a power of two.
  std::uint16_t newest_ = none;
  std::uint16_t oldest_ = none;
  std::uint32_t used_ = 0;
  std::uint32_t templates_ = 0;
  std::vector<std::uint16_t> alarming_;
  std::int64_t last_day_ = 0;
  std::deque<ErrorAlert> alerts_;
  std::vector<std::string> versions_;  // Groups name them by number.
  AggregatorStatistics statistics_;
};

}  // namespace gf::error
