#include "error/aggregator.hpp"

#include "base/utf8.hpp"
#include "error/fingerprint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <unordered_map>

namespace gf::error {
namespace {

constexpr std::size_t block_groups = 64;
constexpr std::int64_t minute_us = 60'000'000;
constexpr std::int64_t day_us = 86'400'000'000;
constexpr std::array<std::string_view, 3> tag_names = {"model", "user", "device"};

/// Text of bounded length, cut between code points.
template <std::size_t capacity>
class ShortText {
 public:
  void set(std::string_view text) {
    const auto kept = first_bytes(text, capacity);
    if (!kept.empty()) std::memcpy(text_.data(), kept.data(), kept.size());  // An empty view may point nowhere.
    size_ = static_cast<std::uint8_t>(kept.size());
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  static_assert(capacity < 256);
  std::array<char, capacity> text_;
  std::uint8_t size_ = 0;
};

/// Who is behind most of a group's errors: one candidate by majority vote (Boyer and Moore 1991), with its count since
/// it became the candidate.
struct Majority {
  ShortText<47> value;
  std::uint32_t lead = 0;
  std::uint64_t same = 0;
  std::uint64_t all = 0;

  void add(std::string_view given) {
    if (given.empty()) return;
    given = given.substr(0, 47);
    ++all;
    if (given == value.view() && lead > 0) {
      ++lead;
      ++same;
    } else if (lead == 0) {
      value.set(given);
      lead = 1;
      same = 1;
    } else {
      --lead;
    }
  }
  bool ties() const { return all >= 10 && static_cast<double>(same) >= 0.9 * static_cast<double>(all); }
};

}  // namespace

struct ErrorAggregator::Group {
  std::uint64_t fingerprint = 0;
  std::uint16_t older = none;
  std::uint16_t newer = none;
  bool foreign_text = false;
  bool alarm_told = false;  // An alarm stands that was not held back.
  std::uint8_t alarms = 0;  // Of the two kinds, how many stand.
  Status status = Status::internal;
  Severity severity = Severity::none;
  std::uint32_t version = 0;
  std::int64_t first_us = 0;
  std::int64_t last_us = 0;
  std::int64_t resolved_us = 0;
  std::int64_t told_us = 0;
  bool was_resolved = false;
  std::uint64_t total = 0;
  std::uint64_t total_at_open = 0;
  std::array<std::uint64_t, 5> by_severity{};
  ShortText<119> title;
  ShortText<191> sample;
  std::uint64_t minutes = 0;  // Bit n: there was an error n minutes before last_us.
  std::array<Majority, 3> tags;
  SpikeChange opened;
  SpikeDetector detector = SpikeDetector(0);
};

struct ErrorAggregator::Incoming {
  std::uint64_t fingerprint;
  bool foreign_text;
  Status status;
  Severity severity;
  std::string_view message;
  std::optional<std::string_view> place;  // None: the message's template is the title.
  const ErrorTags& tags;
};

Result<std::unique_ptr<ErrorAggregator>> ErrorAggregator::create(const AggregatorOptions& options,
                                                                 std::int64_t start_us) {
  const auto invalid = [](std::string_view name, std::int64_t value, std::string_view range) {
    return Error{Status::invalid_argument, fmt::format("{} is {}; it must be {}", name, value, range), {}};
  };
  if (options.group_limit < 1 || options.group_limit > 65535)
    return invalid("group_limit", options.group_limit, "1 to 65535");
  if (options.template_limit < 1 || options.template_limit > options.group_limit) {
    return invalid("template_limit", options.template_limit, "1 to group_limit");
  }
  if (options.cooldown_us < 0) return invalid("cooldown_us", options.cooldown_us, "at least 0");
  if (options.still_every_us < 1'000'000) return invalid("still_every_us", options.still_every_us, "at least 1000000");
  if (options.alert_limit < 1) return invalid("alert_limit", options.alert_limit, "at least 1");
  if (start_us < 0) return invalid("start_us", start_us, "at least 0");
  return std::unique_ptr<ErrorAggregator>(new ErrorAggregator(options, start_us));
}

ErrorAggregator::ErrorAggregator(const AggregatorOptions& options, std::int64_t start_us)
    : options_(options), start_us_(start_us), last_day_(start_us / day_us) {
  index_.assign(std::bit_ceil(std::size_t{options.group_limit} * 2), none);
  free_.reserve(options.group_limit);
  blocks_.reserve((options.group_limit + block_groups - 1) / block_groups);
  alarming_.reserve(options.group_limit);
  versions_.emplace_back();
}

ErrorAggregator::~ErrorAggregator() = default;

ErrorAggregator::Group& ErrorAggregator::group(std::uint16_t index) const {
  return blocks_[index / block_groups][index % block_groups];
}

std::uint16_t ErrorAggregator::lookup(std::uint64_t fingerprint) const {
  const auto mask = index_.size() - 1;
  for (auto at = fingerprint & mask; index_[at] != none; at = (at + 1) & mask) {
    if (group(index_[at]).fingerprint == fingerprint) return index_[at];
  }
  return none;
}

void ErrorAggregator::unlink(std::uint16_t index) {
  auto& here = group(index);
  (here.older == none ? oldest_ : group(here.older).newer) = here.newer;
  (here.newer == none ? newest_ : group(here.newer).older) = here.older;
}

void ErrorAggregator::link_newest(std::uint16_t index) {
  auto& here = group(index);
  here.older = newest_;
  here.newer = none;
  (newest_ == none ? oldest_ : group(newest_).newer) = index;
  newest_ = index;
}

std::uint16_t ErrorAggregator::least_recent(bool foreign_text) const {
  auto alarming = none;
  for (auto at = oldest_; at != none; at = group(at).newer) {
    if (foreign_text && !group(at).foreign_text) continue;
    if (group(at).alarms == 0) return at;
    if (alarming == none) alarming = at;
  }
  return alarming;
}

void ErrorAggregator::erase(std::uint16_t index) {
  const auto& gone = group(index);
  ++statistics_.evicted_groups;
  statistics_.evicted_errors += gone.total;
  // Deletion from a table of linear probing: Knuth, volume 3, algorithm 6.4R.
  const auto mask = index_.size() - 1;
  auto hole = gone.fingerprint & mask;
  while (index_[hole] != index) hole = (hole + 1) & mask;
  for (auto at = (hole + 1) & mask; index_[at] != none; at = (at + 1) & mask) {
    const auto home = group(index_[at]).fingerprint & mask;
    if (((at - home) & mask) >= ((at - hole) & mask)) {
      index_[hole] = index_[at];
      hole = at;
    }
  }
  index_[hole] = none;
  std::erase(alarming_, index);
  if (gone.foreign_text) --templates_;
  --used_;
  unlink(index);
  free_.push_back(index);
}

std::uint16_t ErrorAggregator::insert(std::uint64_t fingerprint, bool foreign_text) {
  if (foreign_text && templates_ >= options_.template_limit) erase(least_recent(true));
  if (used_ >= options_.group_limit) erase(least_recent(false));
  if (free_.empty()) {
    const auto first = blocks_.size() * block_groups;
    blocks_.push_back(std::make_unique<Group[]>(block_groups));
    const auto last = std::min(first + block_groups, std::size_t{options_.group_limit});
    for (auto at = last; at > first; --at) free_.push_back(static_cast<std::uint16_t>(at - 1));
  }
  const auto index = free_.back();
  free_.pop_back();
  auto& made = group(index);
  made = Group{};
  made.fingerprint = fingerprint;
  made.foreign_text = foreign_text;
  made.version = static_cast<std::uint32_t>(versions_.size() - 1);
  made.detector = SpikeDetector(start_us_, options_.spike);
  const auto mask = index_.size() - 1;
  auto at = fingerprint & mask;
  while (index_[at] != none) at = (at + 1) & mask;
  index_[at] = index;
  if (foreign_text) ++templates_;
  ++used_;
  link_newest(index);
  return index;
}

void ErrorAggregator::take(const Incoming& incoming, std::int64_t now_us) noexcept {
  const std::lock_guard lock(mutex_);
  ++statistics_.errors;
  try {
    auto index = lookup(incoming.fingerprint);
    const bool is_new = index == none;
    if (is_new) {
      // The title first: what may throw comes before anything has changed.
      std::string title;
      if (!incoming.place) {
        title = template_of(incoming.message);
      } else {
        const auto* entry = find_status(static_cast<std::int32_t>(incoming.status));
        title = entry == nullptr ? "unknown" : entry->name;
        if (!incoming.place->empty()) title += fmt::format(" in {}", short_place(*incoming.place));
      }
      index = insert(incoming.fingerprint, incoming.foreign_text);
      group(index).title.set(title);
      group(index).first_us = now_us;
      group(index).last_us = now_us;
    } else if (newest_ != index) {
      unlink(index);
      link_newest(index);
    }
    auto& here = group(index);
    const auto passed = now_us / minute_us - here.last_us / minute_us;
    if (passed > 0) here.minutes = passed < 64 ? here.minutes << passed : 0;
    here.minutes |= 1;
    here.last_us = std::max(here.last_us, now_us);
    here.status = incoming.status;
    here.severity = std::max(here.severity, incoming.severity);
    here.sample.set(incoming.message);
    ++here.total;
    ++here.by_severity[std::min<std::size_t>(static_cast<std::size_t>(incoming.severity), 4)];
    const std::array<std::string_view, 3> tags = {incoming.tags.model, incoming.tags.user, incoming.tags.device};
    for (std::size_t tag = 0; tag < tags.size(); ++tag) {
      here.tags[tag].add(tags[tag]);
    }
    follow(index, here.detector.add(now_us, 1), now_us);
  } catch (const std::bad_alloc&) {
    ++statistics_.lost_errors;
  }
}

void ErrorAggregator::record(const Error& error, const ErrorTags& tags, std::int64_t now_us) noexcept {
  const auto* entry = find_status(static_cast<std::int32_t>(error.status));
  // Where it arose says more than where it was wrapped.
  const auto& where = error.causes.empty() ? error.where : error.causes.back().where;
  take({fingerprint_of(error), false, error.status, entry == nullptr ? Severity::error : entry->severity, error.message,
        where.function_name(), tags},
       std::max<std::int64_t>(now_us, 0));
  if (options_.observer) options_.observer->observe(error, tags);
}

void ErrorAggregator::record(const CodedError& error, const ErrorTags& tags, std::int64_t now_us) noexcept {
  const auto* entry = find_status(static_cast<std::int32_t>(error.status));
  const auto known = entry == nullptr ? Severity::error : entry->severity;
  take({fingerprint_of(error), false, error.status, error.severity == Severity::none ? known : error.severity,
        error.message, error.place, tags},
       std::max<std::int64_t>(now_us, 0));
}

void ErrorAggregator::record_text(std::string_view module, std::string_view text, Severity severity,
                                  const ErrorTags& tags, std::int64_t now_us) noexcept {
  take({fingerprint_of_foreign(module, text), true, Status::internal, severity, text, std::nullopt, tags},
       std::max<std::int64_t>(now_us, 0));
  if (options_.observer) options_.observer->observe_text(module, text, severity, tags);
}

void ErrorAggregator::follow(std::uint16_t index, const std::optional<SpikeChange>& change, std::int64_t now_us) {
  if (!change) return;
  auto& here = group(index);
  if (change->what == SpikeChange::What::opened) {
    if (++here.alarms > 1) return;
    alarming_.push_back(index);
    here.opened = *change;
    here.total_at_open = here.total;
    here.told_us = now_us;
    const bool cooling = here.was_resolved && now_us - here.resolved_us < options_.cooldown_us;
    here.alarm_told = here.severity >= options_.alert_from && !cooling;
    if (here.alarm_told) {
      alert(ErrorAlert::What::opened, index, *change, now_us);
    } else {
      ++statistics_.alerts_held_back;
    }
    return;
  }
  if (here.alarms == 0 || --here.alarms > 0) return;
  std::erase(alarming_, index);
  if (!here.alarm_told) return;
  here.alarm_told = false;
  here.was_resolved = true;
  here.resolved_us = now_us;
  alert(ErrorAlert::What::resolved, index, *change, now_us);
}

void ErrorAggregator::alert(ErrorAlert::What what, std::uint16_t index, const SpikeChange& spike, std::int64_t now_us) {
  if (alerts_.size() >= options_.alert_limit) {
    alerts_.pop_front();
    ++statistics_.alerts_dropped;
  }
  const auto& here = group(index);
  alerts_.push_back({what, here.fingerprint, now_us, spike, describe(here, now_us, spike.window_us)});
}

void ErrorAggregator::tick(std::int64_t now_us) noexcept {
  const std::lock_guard lock(mutex_);
  now_us = std::max<std::int64_t>(now_us, 0);
  try {
    if (const auto day = now_us / day_us; day != last_day_) {
      last_day_ = day;
      for (auto at = oldest_; at != none;) {
        const auto next = group(at).newer;
        follow(at, group(at).detector.tick(now_us), now_us);
        at = next;
      }
    }
    // follow() takes out of the list who is over.
    for (std::size_t position = alarming_.size(); position > 0; --position) {
      const auto index = alarming_[position - 1];
      auto& here = group(index);
      follow(index, here.detector.tick(now_us), now_us);
      if (here.alarms > 0 && here.alarm_told && now_us - here.told_us >= options_.still_every_us) {
        here.told_us = now_us;
        auto spike = here.opened;
        spike.count += here.total - here.total_at_open;
        alert(ErrorAlert::What::still, index, spike, now_us);
      }
    }
  } catch (const std::bad_alloc&) {
    ++statistics_.alerts_dropped;
  }
}

bool ErrorAggregator::needs_tick() const noexcept {
  const std::lock_guard lock(mutex_);
  return !alarming_.empty();
}

std::optional<ErrorAlert> ErrorAggregator::next_alert() {
  const std::lock_guard lock(mutex_);
  if (alerts_.empty()) return std::nullopt;
  auto out = std::move(alerts_.front());
  alerts_.pop_front();
  return out;
}

ErrorGroup ErrorAggregator::describe(const Group& here, std::int64_t now_us, std::int64_t window_us) const {
  ErrorGroup out;
  out.fingerprint = here.fingerprint;
  out.foreign_text = here.foreign_text;
  out.status = here.status;
  out.severity = here.severity;
  out.title = here.title.view();
  out.sample = here.sample.view();
  out.first_us = here.first_us;
  out.last_us = here.last_us;
  out.total = here.total;
  out.in_window = here.detector.recent(now_us, std::max<std::int64_t>(window_us / 1'000'000, 1));
  out.by_severity = here.by_severity;
  out.first_version = versions_[here.version];
  out.alarming = here.alarms > 0;
  return out;
}

std::vector<ErrorGroup> ErrorAggregator::top(std::int64_t now_us, std::int64_t window_us, std::size_t count) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::uint64_t, std::uint16_t>> order;
  order.reserve(used_);
  const auto seconds = std::max<std::int64_t>(window_us / 1'000'000, 1);
  for (auto at = newest_; at != none; at = group(at).older) {
    if (const auto errors = group(at).detector.recent(now_us, seconds); errors > 0) order.emplace_back(errors, at);
  }
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<ErrorGroup> out;
  out.reserve(count);
  for (std::size_t at = 0; at < count; ++at) out.push_back(describe(group(order[at].second), now_us, window_us));
  return out;
}

std::optional<ErrorGroup> ErrorAggregator::find(std::uint64_t fingerprint, std::int64_t now_us) const {
  const std::lock_guard lock(mutex_);
  const auto index = lookup(fingerprint);
  if (index == none) return std::nullopt;
  return describe(group(index), now_us, day_us);
}

ErrorPatterns ErrorAggregator::patterns(std::int64_t now_us) const {
  const std::lock_guard lock(mutex_);
  ErrorPatterns out;
  // The groups seen last are the ones that anybody asks about; 128 of them make 8128 pairs.
  struct Minutes {
    std::uint64_t fingerprint;
    std::uint64_t bits;
  };
  std::vector<Minutes> recent;
  constexpr std::uint64_t an_hour = (std::uint64_t{1} << 60) - 1;
  for (auto at = newest_; at != none && recent.size() < 128; at = group(at).older) {
    const auto& here = group(at);
    const auto passed = now_us / minute_us - here.last_us / minute_us;
    if (passed >= 60) break;
    const auto bits = (passed > 0 ? here.minutes << passed : here.minutes) & an_hour;
    if (std::popcount(bits) >= 5) recent.push_back({here.fingerprint, bits});
  }
  for (std::size_t one = 0; one < recent.size(); ++one) {
    for (auto other = one + 1; other < recent.size(); ++other) {
      const auto both = std::popcount(recent[one].bits & recent[other].bits);
      const auto either = std::popcount(recent[one].bits | recent[other].bits);
      // What is there in nearly every minute is together with everything.
      if (both < 5 || both * 5 < either * 4 || either > 54) continue;
      out.together.push_back({recent[one].fingerprint, recent[other].fingerprint, static_cast<double>(both) / either});
    }
  }
  // Where all other errors have the same value too, a tie says nothing.
  std::array<std::uint64_t, tag_names.size()> tagged{};
  std::array<std::unordered_map<std::string_view, std::uint64_t>, tag_names.size()> same;
  for (auto at = newest_; at != none; at = group(at).older) {
    for (std::size_t tag = 0; tag < tag_names.size(); ++tag) {
      const auto& majority = group(at).tags[tag];
      tagged[tag] += majority.all;
      if (majority.same > 0) same[tag][majority.value.view()] += majority.same;
    }
  }
  for (auto at = newest_; at != none; at = group(at).older) {
    const auto& here = group(at);
    if (versions_.size() > 2 && here.version + 1 == versions_.size()) out.new_in_version.push_back(here.fingerprint);
    for (std::size_t tag = 0; tag < tag_names.size(); ++tag) {
      const auto& majority = here.tags[tag];
      if (!majority.ties()) continue;
      const auto others = tagged[tag] - majority.all;
      const auto others_same = same[tag][majority.value.view()] - majority.same;
      if (others == 0 || others_same * 2 > others) continue;
      out.tied.push_back({here.fingerprint, std::string(tag_names[tag]), std::string(majority.value.view()),
                          static_cast<double>(majority.same) / static_cast<double>(majority.all)});
    }
  }
  return out;
}

void ErrorAggregator::set_version(std::string_view version) {
  const std::lock_guard lock(mutex_);
  if (versions_.back() == version) return;
  versions_.emplace_back(version);
}

AggregatorStatistics ErrorAggregator::statistics() const {
  const std::lock_guard lock(mutex_);
  auto out = statistics_;
  out.groups = used_;
  out.bytes = blocks_.size() * block_groups * sizeof(Group) + index_.capacity() * 2 + free_.capacity() * 2 +
              alarming_.capacity() * 2 + alerts_.size() * sizeof(ErrorAlert);
  return out;
}

}  // namespace gf::error
