#include "error/breaker.hpp"

#include "base/json_text.hpp"
#include "base/mix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace gf::error {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::int64_t longest_us = std::int64_t{7} * 24 * 3600 * 1'000'000;

// A lease: used 1 bit, generation 20, deadline in ms 41, and 2 that change with every use, so that a token of one lease
// does not fit the next of the same deadline.
constexpr std::uint64_t lease_used = 1;
constexpr std::uint32_t lease_generation(std::uint64_t lease) {
  return static_cast<std::uint32_t>(lease >> 1) & ((1u << 20) - 1);
}
constexpr std::uint64_t lease_deadline_ms(std::uint64_t lease) { return lease >> 21 & ((std::uint64_t{1} << 41) - 1); }
constexpr std::uint64_t lease_turn_mask = std::uint64_t{3} << 62;
constexpr int grant_bits = 23;

// A cell's tag: 8 bits of the generation, 24 of the bucket's number. A stale cell passes for a fresh one only when both
// come round together: for buckets of a second after exactly 194 days in which nothing was counted there.
constexpr std::uint32_t epoch_bits = 24;
constexpr std::uint32_t epoch_mask = (1u << epoch_bits) - 1;
constexpr std::uint32_t tag_of(std::uint32_t generation, std::int64_t number) {
  return (generation & 0xFF) << epoch_bits | (static_cast<std::uint32_t>(number) & epoch_mask);
}
constexpr bool same_generation(std::uint32_t a, std::uint32_t b) { return a >> epoch_bits == b >> epoch_bits; }
/// By how many buckets `earlier` lies before `later`; modulo 2^24, so huge where it lies after.
constexpr std::uint32_t behind(std::uint32_t earlier, std::uint32_t later) { return (later - earlier) & epoch_mask; }
/// Only what is a little after is: anything else is a cell that was left alone for very long.
constexpr std::uint32_t little = 1024;
constexpr bool is_after(std::uint32_t a, std::uint32_t b) {
  const auto distance = behind(b, a);
  return distance != 0 && distance < little;
}

constexpr std::uint64_t cell_of(std::uint32_t tag, std::uint32_t count) { return std::uint64_t{tag} << 32 | count; }
constexpr std::uint32_t tag_in(std::uint64_t cell) { return static_cast<std::uint32_t>(cell >> 32); }
constexpr std::uint32_t count_in(std::uint64_t cell) { return static_cast<std::uint32_t>(cell); }

/// Adds one to a bucket's cell; one of an older bucket begins anew. `alone`: no other thread writes it.
void add_one(std::atomic<std::uint64_t>& cell, std::uint32_t tag, bool alone) noexcept {
  auto seen = cell.load(relaxed);
  for (;;) {
    auto next = cell_of(tag, 1);
    if (tag_in(seen) == tag) {
      if (count_in(seen) == 0xFFFFFFFF) return;
      next = seen + 1;
    } else if (count_in(seen) != 0 && same_generation(tag_in(seen), tag) && is_after(tag_in(seen), tag)) {
      return;  // The clock stepped back by more than the window.
    }
    if (alone) {
      cell.store(next, relaxed);
      return;
    }
    if (cell.compare_exchange_weak(seen, next, relaxed)) return;
  }
}

/// One more in a lifetime count.
void bump(std::atomic<std::uint64_t>& counter, bool alone) noexcept {
  if (alone) {
    counter.store(counter.load(relaxed) + 1, relaxed);
  } else {
    counter.fetch_add(1, relaxed);
  }
}

std::int64_t saturated_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

std::uint64_t ms_up(std::int64_t us, std::uint64_t limit) {
  if (us <= 0) return 0;
  const auto value = static_cast<std::uint64_t>(us);
  return std::min(value / 1000 + (value % 1000 != 0 ? 1 : 0), limit);
}

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

Result<void> check_range(std::string_view name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return success();
  return invalid(fmt::format("{} is {}; it must be {} to {}", name, value, low, high));
}

Result<void> check_rate(std::string_view name, double value) {
  if (value > 0 && value <= 1) return success();  // NaN fails both.
  return invalid(fmt::format("{} is {}; it must be above 0 and at most 1", name, value));
}

}  // namespace

std::string_view name_of(BreakerState state) {
  switch (state) {
    case BreakerState::closed:
      return "closed";
    case BreakerState::open:
      return "open";
    case BreakerState::half_open:
      return "half_open";
    case BreakerState::forced_open:
      return "forced_open";
    case BreakerState::forced_closed:
      return "forced_closed";
    case BreakerState::disabled:
      return "disabled";
  }
  return "unknown";
}

std::string_view name_of(BreakerReason reason) {
  switch (reason) {
    case BreakerReason::failure_rate:
      return "failure_rate";
    case BreakerReason::slow_rate:
      return "slow_rate";
    case BreakerReason::failures_in_a_row:
      return "failures_in_a_row";
    case BreakerReason::open_time_over:
      return "open_time_over";
    case BreakerReason::probes_succeeded:
      return "probes_succeeded";
    case BreakerReason::probes_failed:
      return "probes_failed";
    case BreakerReason::forced:
      return "forced";
    case BreakerReason::shared:
      return "shared";
  }
  return "unknown";
}

CircuitBreaker::Permit& CircuitBreaker::Permit::operator=(Permit&& other) noexcept {
  if (this == &other) return *this;
  if (breaker_ != nullptr) breaker_->report(token_, Verdict::not_counted, token_.begun_us);
  breaker_ = std::exchange(other.breaker_, nullptr);
  token_ = other.token_;
  return *this;
}

Result<std::shared_ptr<CircuitBreaker>> CircuitBreaker::create(const BreakerOptions& options) {
  if (options.window != BreakerOptions::Window::time && options.window != BreakerOptions::Window::count) {
    return invalid(
        fmt::format("window is {}; it must be 0 (time) or 1 (count)", static_cast<std::uint32_t>(options.window)));
  }
  GF_TRYV(check_range("window_us", options.window_us, 10'000, longest_us));
  GF_TRYV(check_range("window_calls", options.window_calls, 1, max_window_calls));
  GF_TRYV(check_range("minimum_calls", options.minimum_calls, 1,
                      options.window == BreakerOptions::Window::count ? options.window_calls : INT32_MAX));
  GF_TRYV(check_rate("failure_rate", options.failure_rate));
  if (options.slow_call_us != 0) {
    GF_TRYV(check_range("slow_call_us", options.slow_call_us, 1000, longest_us));
  }
  GF_TRYV(check_rate("slow_rate", options.slow_rate));
  GF_TRYV(check_range("open_us", options.open_us, 1000, longest_us));
  GF_TRYV(check_range("max_open_us", options.max_open_us, options.open_us, longest_us));
  if (!(options.jitter >= 0 && options.jitter <= 1)) {
    return invalid(fmt::format("jitter is {}; it must be 0 to 1", options.jitter));
  }
  GF_TRYV(check_range("probes", options.probes, 1, max_probes));
  GF_TRYV(check_range("probes_to_close", options.probes_to_close, 1, options.probes));
  GF_TRYV(check_range("probe_lease_us", options.probe_lease_us, 1000, longest_us));
  return std::shared_ptr<CircuitBreaker>(new CircuitBreaker(options));
}

CircuitBreaker::CircuitBreaker(const BreakerOptions& options)
    : options_(options), bucket_us_(options.window_us / buckets) {
  if (options_.window == BreakerOptions::Window::count) {
    outcomes_ = std::make_unique<std::atomic<std::uint32_t>[]>(options_.window_calls);
  }
}

CircuitBreaker::Permit CircuitBreaker::allow_slowly(std::int64_t now_us) noexcept {
  auto word = word_.load(std::memory_order_acquire);
  const auto refuse = [&](std::int64_t retry_after_us) {
    const auto slot = thread_slot();
    bump(shards_[slot].refused, slot != shared_thread_slot);
    return Permit(nullptr, {0, no_probe, 0, std::max<std::int64_t>(retry_after_us, 1)});
  };
  // Of a shared breaker: a probe needs leave that was fetched for it, since no call waits for the others.
  std::uint64_t grant = 0;
  const auto may_probe = [&] {
    if (!gated_.load(std::memory_order_acquire)) return true;
    if (grant == 0) grant = take_grant(now_us);
    return grant != 0;
  };
  const auto refuse_for_now = [&] {
    const auto held_us = held_until_us_.load(relaxed) - now_us;
    if (held_us > 0) return refuse(held_us);
    if (auto* peer = peer_.load(std::memory_order_acquire); peer != nullptr) peer->probe_wanted();
    return refuse(1000);  // A turn to the server and back.
  };
  const auto with_grant_back = [&](Permit permit) {
    if (grant != 0) put_back(grant);
    return permit;
  };
  for (;;) {
    const auto generation = generation_of(word);
    switch (state_of(word)) {
      case BreakerState::closed:
      case BreakerState::forced_closed:
        if (options_.slow_call_us != 0 && !begin_call(generation, now_us)) {
          word = word_.load(std::memory_order_acquire);
          continue;
        }
        return with_grant_back({this, {generation, no_probe, 0, now_us}});
      case BreakerState::disabled:
        return with_grant_back({this, {generation, no_probe, 0, now_us}});
      case BreakerState::forced_open:
        return with_grant_back(refuse(options_.open_us));
      case BreakerState::open: {
        const auto until_us = static_cast<std::int64_t>(payload_of(word)) * 1000;
        if (now_us < until_us) return with_grant_back(refuse(until_us - now_us));
        if (!may_probe()) return refuse_for_now();
        if (change(word, BreakerState::half_open, 1, BreakerReason::open_time_over, now_us)) {
          return take_probe(generation_of(word), now_us, grant);
        }
        continue;
      }
      case BreakerState::half_open: {
        const auto counts = payload_of(word);
        if ((counts & 0xFF) < options_.probes && may_probe()) {
          const auto next = word_of(BreakerState::half_open, generation, counts + 1);
          if (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
          return take_probe(generation, now_us, grant);
        }
        if (expire_probe(generation, now_us)) {
          word = word_.load(std::memory_order_acquire);
          continue;
        }
        if ((counts & 0xFF) < options_.probes) return refuse_for_now();
        auto nearest_us = options_.probe_lease_us;
        for (const auto& place : leases_) {
          const auto lease = place.load(relaxed);
          if ((lease & lease_used) == 0 || lease_generation(lease) != generation) continue;
          nearest_us = std::min(nearest_us, static_cast<std::int64_t>(lease_deadline_ms(lease)) * 1000 - now_us);
        }
        return with_grant_back(refuse(nearest_us));
      }
    }
    return refuse(options_.open_us);  // No state of ours.
  }
}

std::uint64_t CircuitBreaker::take_grant(std::int64_t now_us) noexcept {
  for (auto& place : grants_) {
    auto seen = place.load(std::memory_order_acquire);
    if (seen == 0 || now_us >= static_cast<std::int64_t>(seen >> grant_bits) * 1000) continue;
    if (place.compare_exchange_strong(seen, 0, std::memory_order_acq_rel, relaxed)) return seen;
  }
  return 0;
}

void CircuitBreaker::put_back(std::uint64_t grant) noexcept {
  for (auto& place : grants_) {
    std::uint64_t seen = 0;
    if (place.compare_exchange_strong(seen, grant, std::memory_order_acq_rel, relaxed)) return;
  }
  tell_end(static_cast<std::uint32_t>(grant) & max_grant, Verdict::not_counted);
}

bool CircuitBreaker::grant(std::uint32_t number, std::int64_t until_us) noexcept {
  if (number == 0 || number > max_grant || until_us <= 0) return false;
  // Rounded down: a leave must not be used when its giver takes it for over.
  const auto word = std::min(static_cast<std::uint64_t>(until_us) / 1000, time_mask) << grant_bits | number;
  for (auto& place : grants_) {
    std::uint64_t seen = 0;
    if (place.compare_exchange_strong(seen, word, std::memory_order_acq_rel, relaxed)) return true;
  }
  return false;
}

std::uint32_t CircuitBreaker::take_back_grant(std::int64_t now_us) noexcept {
  for (auto& place : grants_) {
    auto seen = place.load(std::memory_order_acquire);
    if (seen == 0 || now_us < static_cast<std::int64_t>(seen >> grant_bits) * 1000) continue;
    if (place.compare_exchange_strong(seen, 0, std::memory_order_acq_rel, relaxed)) {
      return static_cast<std::uint32_t>(seen) & max_grant;
    }
  }
  return 0;
}

void CircuitBreaker::tell_end(std::uint32_t grant, Verdict verdict) noexcept {
  if (grant == 0) return;
  if (auto* peer = peer_.load(std::memory_order_acquire); peer != nullptr) peer->probe_ended(grant, verdict);
}

bool CircuitBreaker::attach(std::shared_ptr<BreakerPeer> peer) noexcept {
  if (attached_.exchange(true)) return false;
  peer_owner_ = std::move(peer);
  peer_.store(peer_owner_.get(), std::memory_order_release);
  return true;
}

CircuitBreaker::Permit CircuitBreaker::take_probe(std::uint32_t generation, std::int64_t now_us,
                                                  std::uint64_t grant) noexcept {
  const auto deadline_ms = ms_up(saturated_add(now_us, options_.probe_lease_us), time_mask);
  // The word counts at most `probes` leases as issued, and a lease is given back here before it is there: so one of the
  // places is free, or will be seen to be.
  for (;;) {
    for (std::uint32_t index = 0; index < options_.probes; ++index) {
      auto seen = leases_[index].load(relaxed);
      if ((seen & lease_used) != 0) {
        // Left by an older generation: free. A newer one's is not ours to take, however late we are.
        const auto age = (generation - lease_generation(seen)) & generation_mask;
        if (age == 0 || age > generation_mask / 2) continue;
      }
      const auto turn = (seen + (std::uint64_t{1} << 62)) & lease_turn_mask;
      const auto lease = lease_used | std::uint64_t{generation} << 1 | deadline_ms << 21 | turn;
      if (leases_[index].compare_exchange_strong(seen, lease, std::memory_order_acq_rel, relaxed)) {
        grants_in_use_[index].store(static_cast<std::uint32_t>(grant) & max_grant, std::memory_order_release);
        return {this, {generation, index, lease, now_us}};
      }
    }
    // Others have ended this generation meanwhile: the call was let through, and its end will move nothing. Where it
    // had a grant, that ends by itself.
    if (generation_of(word_.load(std::memory_order_acquire)) != generation) {
      return {this, {generation, 0, 0, now_us}};
    }
  }
}

bool CircuitBreaker::expire_probe(std::uint32_t generation, std::int64_t now_us) noexcept {
  for (std::size_t index = 0; index < leases_.size(); ++index) {
    auto& place = leases_[index];
    const auto grant = grants_in_use_[index].load(std::memory_order_acquire);
    auto lease = place.load(std::memory_order_acquire);
    if ((lease & lease_used) == 0 || lease_generation(lease) != generation) continue;
    if (now_us < static_cast<std::int64_t>(lease_deadline_ms(lease)) * 1000) continue;
    if (!place.compare_exchange_strong(lease, lease & lease_turn_mask, std::memory_order_acq_rel, relaxed)) continue;
    tell_end(grant, Verdict::failure);
    settle(generation, Verdict::failure, now_us, 0);
    return true;
  }
  return false;
}

bool CircuitBreaker::settle(std::uint32_t generation, Verdict verdict, std::int64_t now_us,
                            std::int64_t retry_after_us) noexcept {
  auto word = word_.load(std::memory_order_acquire);
  while (state_of(word) == BreakerState::half_open && generation_of(word) == generation) {
    auto counts = payload_of(word);
    if (verdict == Verdict::not_counted) {
      --counts;
    } else {
      counts += verdict == Verdict::success ? 1u << 8 : 1u << 16;
    }
    const auto succeeded = counts >> 8 & 0xFF;
    const auto failed = counts >> 16 & 0xFF;
    if (succeeded >= options_.probes_to_close) {
      if (change(word, BreakerState::closed, 0, BreakerReason::probes_succeeded, now_us)) return true;
    } else if (failed > options_.probes - options_.probes_to_close) {
      if (change(word, BreakerState::open, open_until_ms(generation, now_us, retry_after_us),
                 BreakerReason::probes_failed, now_us)) {
        return true;
      }
    } else if (word_.compare_exchange_weak(word, word_of(BreakerState::half_open, generation, counts),
                                           std::memory_order_acq_rel, std::memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

void CircuitBreaker::report_slowly(const Token& token, Verdict verdict, std::int64_t now_us,
                                   std::int64_t retry_after_us) noexcept {
  const auto slot = thread_slot();
  const bool alone = slot != shared_thread_slot;
  auto& shard = shards_[slot];
  const auto word = word_.load(std::memory_order_acquire);
  const auto state = state_of(word);
  if (generation_of(word) != token.generation) {
    bump(shard.late, alone);
    return;
  }
  const bool slow =
      options_.slow_call_us != 0 && verdict != Verdict::not_counted && now_us - token.begun_us >= options_.slow_call_us;
  switch (state) {
    case BreakerState::closed:
    case BreakerState::forced_closed: {
      if (options_.slow_call_us != 0) end_call(token.generation, token.begun_us, now_us);
      if (verdict == Verdict::not_counted) {
        bump(shard.not_counted, alone);
        return;
      }
      const bool failed = verdict == Verdict::failure;
      count(token.generation, now_us, failed, slow);
      bump(failed ? shard.failures : shard.successes, alone);
      if (failed) {
        auto row = in_a_row_.load(relaxed);
        std::uint64_t next = 0;
        do {
          next = row >> 32 == token.generation ? row + 1 : (std::uint64_t{token.generation} << 32 | 1);
        } while (!in_a_row_.compare_exchange_weak(row, next, relaxed));
      } else if (in_a_row_.load(relaxed) != 0) {
        in_a_row_.store(0, relaxed);
      }
      if ((failed || slow) && state == BreakerState::closed) judge(token.generation, now_us, retry_after_us);
      return;
    }
    case BreakerState::half_open: {
      auto lease = token.lease;
      const auto grant =
          token.probe < max_probes ? grants_in_use_[token.probe].load(std::memory_order_acquire) : std::uint32_t{0};
      if (token.probe >= max_probes || lease == 0 ||
          !leases_[token.probe].compare_exchange_strong(lease, lease & lease_turn_mask, std::memory_order_acq_rel,
                                                        relaxed)) {
        bump(shard.late, alone);
        return;
      }
      // A service that answers too slowly is not well again.
      if (slow) verdict = Verdict::failure;
      bump(verdict == Verdict::success   ? shard.successes
           : verdict == Verdict::failure ? shard.failures
                                         : shard.not_counted,
           alone);
      tell_end(grant, verdict);
      settle(token.generation, verdict, now_us, retry_after_us);
      return;
    }
    case BreakerState::open:
    case BreakerState::forced_open:
    case BreakerState::disabled:
      return;
  }
}

void CircuitBreaker::count(std::uint32_t generation, std::int64_t now_us, bool failed, bool slow) noexcept {
  if (options_.window == BreakerOptions::Window::count) {
    const auto turn = ticket_.fetch_add(1, relaxed) % options_.window_calls;
    outcomes_[turn].store(generation << 3 | 1u | (failed ? 2u : 0u) | (slow ? 4u : 0u), relaxed);
    return;
  }
  const auto slot = thread_slot();
  const bool alone = slot != shared_thread_slot;
  auto& shard = shards_[slot];
  const auto number = now_us / bucket_us_;
  const auto tag = tag_of(generation, number);
  auto& bucket = shard.ring[static_cast<std::uint64_t>(number) % buckets];
  add_one(bucket.calls, tag, alone);
  if (failed) add_one(bucket.failures, tag, alone);
  if (slow) add_one(bucket.slow, tag, alone);
  if (!alone) return;
  shard.begin_us.store(number * bucket_us_, relaxed);
  shard.end_us.store(saturated_add(number * bucket_us_, bucket_us_), relaxed);
  shard.bucket.store(&bucket, relaxed);
  shard.tag.store(std::uint64_t{generation} << 32 | tag, relaxed);
}

void CircuitBreaker::add_before(std::uint32_t slot, std::uint32_t generation, std::int32_t by) noexcept {
  auto& before = shards_[slot].under_way_before;
  auto seen = before.load(relaxed);
  for (;;) {
    const auto held = tag_in(seen) == generation ? count_in(seen) : 0;
    const auto next = cell_of(generation, held + static_cast<std::uint32_t>(by));
    if (slot != shared_thread_slot) {
      before.store(next, relaxed);
      return;
    }
    if (before.compare_exchange_weak(seen, next, relaxed)) return;
  }
}

void CircuitBreaker::add_under_way(std::uint32_t slot, std::uint32_t generation, std::int64_t period,
                                   std::int32_t by) noexcept {
  const bool alone = slot != shared_thread_slot;
  auto& shard = shards_[slot];
  const auto tag = tag_of(generation, period);
  auto& cell = shard.under_way[static_cast<std::uint64_t>(period) % shard.under_way.size()];
  auto seen = cell.load(relaxed);
  for (;;) {
    const bool ours = count_in(seen) != 0 && same_generation(tag_in(seen), tag);
    std::int32_t moved = 0;
    auto next = cell_of(tag, static_cast<std::uint32_t>(by));
    if (tag_in(seen) == tag) {
      next = cell_of(tag, count_in(seen) + static_cast<std::uint32_t>(by));
    } else if (ours && is_after(tag_in(seen), tag)) {
      add_before(slot, generation, by);
      return;
    } else if (ours) {
      moved = static_cast<std::int32_t>(count_in(seen));
    }
    if (alone) {
      cell.store(next, relaxed);
    } else if (!cell.compare_exchange_weak(seen, next, relaxed)) {
      continue;
    }
    if (moved != 0) add_before(slot, generation, moved);
    return;
  }
}

bool CircuitBreaker::begin_call(std::uint32_t generation, std::int64_t now_us) noexcept {
  const auto slot = thread_slot();
  auto& shard = shards_[slot];
  const bool alone = slot != shared_thread_slot;
  const bool inside = alone && now_us >= shard.slow_begin_us.load(relaxed) && now_us < shard.slow_end_us.load(relaxed);
  const auto period = inside ? shard.slow_period.load(relaxed) : now_us / options_.slow_call_us;
  if (!inside && (alone || shard.slow_period.load(relaxed) != period)) {
    // A new period is the moment to look for calls that hang, since those never report.
    shard.slow_period.store(period, relaxed);
    shard.slow_begin_us.store(period * options_.slow_call_us, relaxed);
    shard.slow_end_us.store(saturated_add(period * options_.slow_call_us, options_.slow_call_us), relaxed);
    const auto now = sums(generation, now_us);
    const auto calls = now.calls + now.under_way;
    if (now.under_way > 0 && calls >= options_.minimum_calls &&
        static_cast<double>(now.slow + now.under_way) >= options_.slow_rate * static_cast<double>(calls)) {
      auto word = word_.load(std::memory_order_acquire);
      if (state_of(word) == BreakerState::closed && generation_of(word) == generation) {
        change(word, BreakerState::open, open_until_ms(generation, now_us, 0), BreakerReason::slow_rate, now_us);
      }
      word = word_.load(std::memory_order_acquire);
      if (generation_of(word) != generation) return false;
    }
  }
  add_under_way(slot, generation, period, 1);
  return true;
}

void CircuitBreaker::end_call(std::uint32_t generation, std::int64_t begun_us, std::int64_t now_us) noexcept {
  // Most calls begin and end in one period, whose number the shard knows.
  const auto slot = thread_slot();
  const auto& shard = shards_[slot];
  const auto begin_us = shard.slow_begin_us.load(relaxed);
  const auto end_us = shard.slow_end_us.load(relaxed);
  if (slot != shared_thread_slot && begun_us >= begin_us && begun_us < end_us && now_us >= begin_us &&
      now_us < end_us) {
    add_under_way(slot, generation, shard.slow_period.load(relaxed), -1);
    return;
  }
  const auto period = begun_us / options_.slow_call_us;
  if (now_us / options_.slow_call_us - period >= 2) {
    // Its cell may have moved on long ago; from two periods on the sum is the same wherever it is taken off.
    add_before(slot, generation, -1);
  } else {
    add_under_way(slot, generation, period, -1);
  }
}

CircuitBreaker::WindowSums CircuitBreaker::sums(std::uint32_t generation, std::int64_t now_us) const noexcept {
  WindowSums out;
  if (options_.window == BreakerOptions::Window::count) {
    for (std::uint32_t index = 0; index < options_.window_calls; ++index) {
      const auto outcome = outcomes_[index].load(relaxed);
      if ((outcome & 1) == 0 || outcome >> 3 != generation) continue;
      ++out.calls;
      if ((outcome & 2) != 0) ++out.failures;
      if ((outcome & 4) != 0) ++out.slow;
    }
  } else {
    const auto newest = tag_of(generation, now_us / bucket_us_);
    const auto add = [&](std::uint64_t& sum, const Cell& cell) {
      const auto seen = cell.load(relaxed);
      const auto tag = tag_in(seen);
      if (same_generation(tag, newest) && behind(tag, newest) < buckets) sum += count_in(seen);
    };
    for (const auto& shard : shards_) {
      for (const auto& bucket : shard.ring) {
        add(out.calls, bucket.calls);
        add(out.failures, bucket.failures);
        add(out.slow, bucket.slow);
      }
    }
  }
  if (options_.slow_call_us != 0) {
    // What began two periods ago has surely lasted for one.
    const auto newest = tag_of(generation, now_us / options_.slow_call_us);
    std::int64_t hanging = 0;
    for (const auto& shard : shards_) {
      const auto before = shard.under_way_before.load(relaxed);
      if (tag_in(before) == generation) hanging += static_cast<std::int32_t>(count_in(before));
      for (const auto& cell : shard.under_way) {
        const auto seen = cell.load(relaxed);
        if (!same_generation(tag_in(seen), newest)) continue;
        const auto age = behind(tag_in(seen), newest);
        if (age >= 2 && age < epoch_mask - little) hanging += static_cast<std::int32_t>(count_in(seen));
      }
    }
    out.under_way = static_cast<std::uint64_t>(std::max<std::int64_t>(hanging, 0));
  }
  return out;
}

void CircuitBreaker::judge(std::uint32_t generation, std::int64_t now_us, std::int64_t retry_after_us) noexcept {
  auto reason = BreakerReason::failures_in_a_row;
  const auto row = in_a_row_.load(relaxed);
  const bool in_a_row =
      options_.failures_in_a_row != 0 && row >> 32 == generation && (row & 0xFFFFFFFF) >= options_.failures_in_a_row;
  if (!in_a_row) {
    const auto now = sums(generation, now_us);
    const auto share = [](std::uint64_t part, double rate, std::uint64_t whole) {
      return static_cast<double>(part) >= rate * static_cast<double>(whole);
    };
    const auto calls = now.calls + now.under_way;
    if (now.calls >= options_.minimum_calls && share(now.failures, options_.failure_rate, now.calls)) {
      reason = BreakerReason::failure_rate;
    } else if (options_.slow_call_us != 0 && calls >= options_.minimum_calls && now.slow + now.under_way > 0 &&
               share(now.slow + now.under_way, options_.slow_rate, calls)) {
      reason = BreakerReason::slow_rate;
    } else {
      return;
    }
  }
  auto word = word_.load(std::memory_order_acquire);
  if (state_of(word) != BreakerState::closed || generation_of(word) != generation) return;
  change(word, BreakerState::open, open_until_ms(generation, now_us, retry_after_us), reason, now_us);
}

std::uint64_t CircuitBreaker::open_until_ms(std::uint32_t generation, std::int64_t now_us,
                                            std::int64_t retry_after_us) const noexcept {
  const auto draw =
      static_cast<double>(split_mix((options_.jitter_seed + 1) * split_mix_step + generation) >> 11) * 0x1p-53;
  const auto own_us =
      options_.open_us + static_cast<std::int64_t>(static_cast<double>(options_.open_us) * options_.jitter * draw);
  const auto asked_us = std::min(retry_after_us, options_.max_open_us);
  return ms_up(saturated_add(now_us, std::max(own_us, asked_us)), time_mask);
}

bool CircuitBreaker::change(std::uint64_t& word, BreakerState to, std::uint64_t payload, BreakerReason reason,
                            std::int64_t now_us) noexcept {
  const auto next = word_of(to, generation_of(word) + 1, payload);
  const auto from = state_of(word);
  if (!word_.compare_exchange_strong(word, next, std::memory_order_acq_rel, std::memory_order_acquire)) return false;
  word = next;
  if (to == BreakerState::open) trips_.fetch_add(1, relaxed);
  BreakerEvent event{from, to, reason, generation_of(next), now_us, 0};
  if (to == BreakerState::open) event.open_until_us = static_cast<std::int64_t>(payload) * 1000;
  if (auto* peer = peer_.load(std::memory_order_acquire); peer != nullptr && reason != BreakerReason::shared) {
    peer->changed(event);
  }
  if (options_.listener) {
    try {
      options_.listener(event);
    } catch (...) {  // NOLINT(bugprone-empty-catch): a listener must not fail the call that it hears of.
    }
  }
  return true;
}

void CircuitBreaker::force(BreakerState state, std::int64_t now_us) noexcept {
  auto word = word_.load(std::memory_order_acquire);
  while (!change(word, state, 0, BreakerReason::forced, now_us)) {
  }
}

bool CircuitBreaker::follow(BreakerState state, std::int64_t until_us, bool over_forced, std::int64_t now_us) noexcept {
  const auto until_ms = state == BreakerState::open
                            ? ms_up(std::min(until_us, saturated_add(now_us, options_.max_open_us)), time_mask)
                            : std::uint64_t{0};
  auto word = word_.load(std::memory_order_acquire);
  for (;;) {
    const auto here = state_of(word);
    const bool forced =
        here == BreakerState::forced_open || here == BreakerState::forced_closed || here == BreakerState::disabled;
    if (forced && !over_forced) return false;
    if (here == state && payload_of(word) == until_ms) return false;
    if (here == BreakerState::open && state == BreakerState::open) {
      // The same break, whose end all have in common from now on: no event.
      if (word_.compare_exchange_weak(word, word_of(state, generation_of(word), until_ms), std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
        return true;
      }
      continue;
    }
    if (change(word, state, until_ms, BreakerReason::shared, now_us)) return true;
  }
}

BreakerState CircuitBreaker::state(std::int64_t now_us) const noexcept {
  const auto word = word_.load(std::memory_order_acquire);
  const auto state = state_of(word);
  if (state == BreakerState::open && now_us >= static_cast<std::int64_t>(payload_of(word)) * 1000) {
    return BreakerState::half_open;
  }
  return state;
}

BreakerReport CircuitBreaker::report(std::int64_t now_us) const noexcept {
  BreakerReport out;
  const auto word = word_.load(std::memory_order_acquire);
  out.state = state(now_us);
  out.generation = generation_of(word);
  if (out.state == BreakerState::open) out.open_for_us = static_cast<std::int64_t>(payload_of(word)) * 1000 - now_us;
  const auto now = sums(out.generation, now_us);
  out.window_calls = now.calls;
  out.window_failures = now.failures;
  out.window_slow = now.slow;
  out.slow_under_way = now.under_way;
  const auto row = in_a_row_.load(relaxed);
  if (row >> 32 == out.generation) out.failures_in_a_row = static_cast<std::uint32_t>(row);
  if (out.state == BreakerState::closed) {
    if (now.calls + 1 < options_.minimum_calls) out.calls_missing = options_.minimum_calls - 1 - now.calls;
    if (options_.failures_in_a_row > out.failures_in_a_row + 1) {
      out.row_missing = options_.failures_in_a_row - 1 - out.failures_in_a_row;
    }
  }
  for (const auto& shard : shards_) {
    out.successes += shard.successes.load(relaxed);
    out.failures += shard.failures.load(relaxed);
    out.not_counted += shard.not_counted.load(relaxed);
    out.late += shard.late.load(relaxed);
    out.refused += shard.refused.load(relaxed);
  }
  out.trips = trips_.load(relaxed);
  return out;
}

std::string CircuitBreaker::report_json(std::int64_t now_us) const {
  const auto now = report(now_us);
  JsonText out;
  out.begin_object().key("state").text(name_of(now.state)).key("generation").number(std::uint64_t{now.generation});
  out.key("open_for_us").number(now.open_for_us);
  out.key("window").begin_object();
  out.key("calls").number(now.window_calls).key("failures").number(now.window_failures);
  out.key("slow").number(now.window_slow).key("slow_under_way").number(now.slow_under_way).end_object();
  out.key("failures_in_a_row").number(std::uint64_t{now.failures_in_a_row});
  out.key("missing_to_trip").begin_object().key("calls").number(now.calls_missing);
  out.key("failures_in_a_row").number(std::uint64_t{now.row_missing}).end_object();
  out.key("successes").number(now.successes).key("failures").number(now.failures);
  out.key("not_counted").number(now.not_counted).key("late").number(now.late);
  out.key("refused").number(now.refused).key("trips").number(now.trips).end_object();
  return std::move(out).str();
}

}  // namespace gf::error
