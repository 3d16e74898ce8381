#include "queue/queue.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace gf::queue {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

Result<void> check_range(std::string_view name, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return success();
  return invalid(fmt::format("{} is {}; it must be {} to {}", name, value, least, most));
}

Result<void> check_count(std::string_view name, std::uint64_t value, std::uint64_t least, std::uint64_t most) {
  if (value >= least && value <= most) return success();
  return invalid(fmt::format("{} is {}; it must be {} to {}", name, value, least, most));
}

// Counts that a Redis script compares must be exact in its doubles.
constexpr std::uint64_t max_count = std::uint64_t{1} << 52;

}  // namespace

std::string_view name_of(JobState state) {
  constexpr std::array<std::string_view, state_count> names = {"delayed",   "waiting", "running", "done",
                                                               "cancelled", "expired", "dead"};
  const auto index = static_cast<std::size_t>(state);
  return index < names.size() ? names[index] : "unknown";
}

std::string_view name_of(Priority priority) {
  constexpr std::array<std::string_view, lane_count> names = {"high", "normal", "low"};
  const auto index = static_cast<std::size_t>(priority);
  return index < names.size() ? names[index] : "unknown";
}

Result<void> check_name(std::string_view what, std::string_view name, bool may_be_empty) {
  if (name.empty() && !may_be_empty) return invalid(fmt::format("{} is empty", what));
  if (name.size() > max_name_bytes) {
    return invalid(fmt::format("{} has {} bytes; at most {} are allowed", what, name.size(), max_name_bytes));
  }
  const bool control = std::ranges::any_of(name, [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; });
  if (control || first_invalid_utf8(name)) {
    return invalid(fmt::format("{} is {}; it must be UTF-8 without control characters", what, shown(name)));
  }
  return success();
}

std::string cut_message(std::string_view message) {
  std::string out;
  out.reserve(std::min(message.size(), max_message_bytes));
  for (std::size_t at = 0; at < message.size();) {
    const auto begin = at;
    if (!next_code_point(message, at)) {
      if (out.size() + 3 > max_message_bytes) break;
      append_utf8(out, U'\uFFFD');
      ++at;
      continue;
    }
    if (out.size() + (at - begin) > max_message_bytes) break;
    out.append(message, begin, at - begin);
  }
  return out;
}

Result<void> check(const QueueOptions& options) {
  const auto& lanes = options.lanes;
  if (lanes.order != LaneOrder::strict && lanes.order != LaneOrder::weighted) {
    return invalid(fmt::format("lanes.order is {}; it must be 0 or 1", static_cast<std::uint32_t>(lanes.order)));
  }
  GF_TRYV(check_range("lanes.normal_max_wait_us", lanes.normal_max_wait_us, 0, max_delay_us));
  GF_TRYV(check_range("lanes.low_max_wait_us", lanes.low_max_wait_us, 0, max_delay_us));
  for (const auto weight : lanes.weights) {
    GF_TRYV(check_count("lanes.weights", weight, 1, 1000));
  }
  if (lanes.user_start_rate) {
    GF_TRYV(TokenRate::create(*lanes.user_start_rate));
  }
  GF_TRYV(check_count("depth.jobs", options.depth.jobs, 0, max_count));
  GF_TRYV(check_count("depth.bytes", options.depth.bytes, 0, max_count));
  for (const auto& depth : options.lane_depth) {
    GF_TRYV(check_count("lane_depth.jobs", depth.jobs, 0, max_count));
    GF_TRYV(check_count("lane_depth.bytes", depth.bytes, 0, max_count));
  }
  GF_TRYV(check_count("reserved_for_high", options.reserved_for_high, 0,
                      options.depth.jobs == 0 ? max_count : options.depth.jobs));
  GF_TRYV(check_range("max_age_us", options.max_age_us, 0, max_delay_us));
  for (const auto age_us : options.lane_max_age_us) {
    GF_TRYV(check_range("lane_max_age_us", age_us, 0, max_delay_us));
  }
  if (options.overflow != Overflow::reject && options.overflow != Overflow::drop_oldest_lowest) {
    return invalid(fmt::format("overflow is {}; it must be 0 or 1", static_cast<std::uint32_t>(options.overflow)));
  }
  GF_TRYV(check_count("max_payload_bytes", options.max_payload_bytes, 0, std::uint64_t{1} << 29));
  GF_TRYV(check_count("max_result_bytes", options.max_result_bytes, 0, std::uint64_t{1} << 24));
  GF_TRYV(check_range("lease_us", options.lease_us, 1000, max_delay_us));
  GF_TRYV(check_count("max_crashes", options.max_crashes, 1, 1000));
  GF_TRYV(check_count("kept_finished", options.kept_finished, 0, max_count));
  GF_TRYV(check_range("kept_finished_us", options.kept_finished_us, 0, max_delay_us));
  GF_TRYV(check_count("max_dead", options.max_dead, 0, max_count));
  GF_TRYV(check_count("max_dead_bytes", options.max_dead_bytes, 0, max_count));
  GF_TRYV(check_range("max_dead_us", options.max_dead_us, 0, max_delay_us));
  if (options.dead_overflow != DeadOverflow::refuse && options.dead_overflow != DeadOverflow::expire_oldest) {
    return invalid(
        fmt::format("dead_overflow is {}; it must be 0 or 1", static_cast<std::uint32_t>(options.dead_overflow)));
  }
  GF_TRYV(check_count("max_idempotency_keys", options.max_idempotency_keys, 0, max_count));
  GF_TRYV(check_count("kept_events", options.kept_events, 0, 1'000'000));
  return success();
}

std::int64_t max_age_us(const QueueOptions& options, Priority priority) {
  const auto of_lane = options.lane_max_age_us[static_cast<std::size_t>(priority)];
  if (of_lane == 0 || options.max_age_us == 0) return std::max(of_lane, options.max_age_us);
  return std::min(of_lane, options.max_age_us);
}

Result<void> check(const ReserveRequest& request) {
  GF_TRYV(check_count("count", request.count, 1, 1000));
  if (request.lease_us < 0 || request.lease_us > max_delay_us || (request.timeout_us && *request.timeout_us < 0)) {
    return invalid(fmt::format("lease_us is {}, and must be 0 to {}; a timeout must be at least 0", request.lease_us,
                               max_delay_us));
  }
  return check_name("worker", request.worker, true);
}

Result<void> check_timeout(std::int64_t timeout_us) {
  if (timeout_us >= 0) return success();
  return invalid(fmt::format("timeout_us is {}; it must be at least 0", timeout_us));
}

Error queue_is_closed() { return {Status::shutting_down, "the queue is closed", {}}; }

Error unknown_job(const JobId& id) {
  return {Status::not_found, fmt::format("job {} is not in the queue", to_text(id)), {}};
}

Error no_dead_letter(const JobId& id, JobState state) {
  return {Status::wrong_state, fmt::format("job {} is {}, and no dead letter", to_text(id), name_of(state)), {}};
}

Error foreign_cursor() { return invalid("the cursor is none that this queue gave"); }

Error makes_no_events() { return {Status::unsupported, "kept_events is 0: this queue makes no events", {}}; }

Result<void> check_page(std::uint32_t limit) { return check_count("limit", limit, 1, 1000); }

Result<void> check_purge(const JobFilter& filter) {
  if (filter.state != JobState::running && static_cast<std::size_t>(filter.state) < state_count) return success();
  return Error{Status::unsupported, "running jobs are cancelled one by one, not purged", {}};
}

Result<void> check_requeue(const JobFilter& filter) {
  if (filter.state == JobState::dead) return success();
  return invalid("only dead letters are put back; filter.state must be dead");
}

Result<void> check(const NewJob& job, const QueueOptions& options) {
  if (static_cast<std::size_t>(job.priority) >= lane_count) {
    return invalid(fmt::format("priority is {}; it must be 0 to 2", static_cast<std::uint32_t>(job.priority)));
  }
  GF_TRYV(check_name("user", job.user, true));
  GF_TRYV(check_name("content_type", job.content_type, true));
  if (job.tags.size() > max_tags) {
    return invalid(fmt::format("there are {} tags; at most {} are allowed", job.tags.size(), max_tags));
  }
  for (const auto& tag : job.tags) {
    GF_TRYV(check_name("tag", tag, false));
  }
  const auto& idempotency = job.idempotency;
  GF_TRYV(check_name("idempotency key", idempotency.key, true));
  if (!idempotency.key.empty()) {
    if (idempotency.scope > KeyScope::until_finished || idempotency.on_duplicate > OnDuplicate::refuse) {
      return invalid("the scope or on_duplicate of the idempotency key is none that is known");
    }
    if (idempotency.scope == KeyScope::for_time) {
      GF_TRYV(check_range("idempotency ttl_us", idempotency.ttl_us, 1, max_delay_us));
    }
  }
  GF_TRYV(check_range("delay_us", job.delay_us, 0, max_delay_us));
  if (job.deadline_us && *job.deadline_us > max_delay_us) {
    return invalid(fmt::format("deadline_us is {}; it must be at most {}", *job.deadline_us, max_delay_us));
  }
  GF_TRYV(check(job.retry));
  if (job.payload.size() > options.max_payload_bytes) {
    return Error{
        Status::payload_too_large,
        fmt::format("the payload has {} bytes; max_payload_bytes is {}", job.payload.size(), options.max_payload_bytes),
        {}};
  }
  return success();
}

std::string prometheus_text(const Statistics& statistics, std::string_view queue_name) {
  std::string name;
  for (const char c : queue_name) {
    if (c == '\\' || c == '"') name += '\\';
    name += c == '\n' ? ' ' : c;
  }
  std::string out;
  auto to = std::back_inserter(out);
  const auto head = [&](std::string_view metric, std::string_view type, std::string_view help) {
    fmt::format_to(to, "# HELP gameforge_queue_{0} {2}\n# TYPE gameforge_queue_{0} {1}\n", metric, type, help);
  };
  const auto gauge = [&](std::string_view metric, std::string_view help, auto value) {
    head(metric, "gauge", help);
    fmt::format_to(to, "gameforge_queue_{}{{queue=\"{}\"}} {}\n", metric, name, value);
  };
  head("jobs", "gauge", "Jobs by state and lane.");
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    fmt::format_to(to, "gameforge_queue_jobs{{queue=\"{}\",state=\"waiting\",lane=\"{}\"}} {}\n", name,
                   name_of(static_cast<Priority>(lane)), statistics.waiting[lane]);
  }
  const auto by_state = [&](std::string_view state, std::uint64_t count) {
    fmt::format_to(to, "gameforge_queue_jobs{{queue=\"{}\",state=\"{}\"}} {}\n", name, state, count);
  };
  by_state("delayed", statistics.delayed);
  by_state("running", statistics.running);
  by_state("dead", statistics.dead);
  gauge("payload_bytes", "Bytes of payloads that wait.", statistics.payload_bytes);
  gauge("oldest_waiting_seconds", "How long the oldest job waits.",
        static_cast<double>(statistics.oldest_waiting_us) / 1e6);
  gauge("users", "Users with jobs.", statistics.users);
  gauge("paused", "1 while the queue is paused.", statistics.paused ? 1 : 0);
  const auto& totals = statistics.totals;
  const auto counter = [&](std::string_view metric, std::string_view help, std::uint64_t value) {
    head(metric, "counter", help);
    fmt::format_to(to, "gameforge_queue_{}{{queue=\"{}\"}} {}\n", metric, name, value);
  };
  counter("accepted_total", "Jobs that were accepted.", totals.accepted);
  counter("duplicates_total", "Enqueues that met the holder of their key.", totals.duplicates);
  counter("rejected_total", "Enqueues that were refused for want of room.", totals.rejected);
  counter("taken_total", "Leases that were given.", totals.taken);
  counter("renewed_total", "Leases that were prolonged.", totals.renewed);
  counter("done_total", "Jobs that were completed.", totals.done);
  counter("failed_total", "Runs that failed.", totals.failed);
  counter("retried_total", "Failed runs after which the job waits again.", totals.retried);
  counter("released_total", "Jobs that were given back.", totals.released);
  counter("recovered_total", "Leases that ran out.", totals.recovered);
  counter("fenced_off_total", "Calls with a stale fencing token.", totals.fenced_off);
  counter("cancelled_total", "Jobs that were cancelled.", totals.cancelled);
  counter("expired_total", "Jobs whose deadline passed while they waited.", totals.expired);
  counter("died_total", "Jobs that went to the dead letters.", totals.died);
  counter("dropped_total", "Of these, for want of room.", totals.dropped);
  counter("requeued_total", "Dead letters that were put back.", totals.requeued);
  counter("removed_total", "Dead letters that were removed.", totals.removed);
  const auto histogram = [&](std::string_view metric, std::string_view help, const Histogram& of) {
    head(metric, "histogram", help);
    std::uint64_t sum = 0;
    for (std::size_t bucket = 0; bucket < Histogram::bucket_count; ++bucket) {
      sum += of.buckets()[bucket];
      // A bound for every power of two suffices for a reader, and keeps the page short.
      if (bucket % 8 != 7 || bucket < 56) continue;
      fmt::format_to(to, "gameforge_queue_{}_bucket{{queue=\"{}\",le=\"{}\"}} {}\n", metric, name,
                     static_cast<double>(Histogram::upper_us(bucket)) / 1e6, sum);
    }
    fmt::format_to(to, "gameforge_queue_{0}_bucket{{queue=\"{1}\",le=\"+Inf\"}} {2}\n", metric, name, of.count());
    fmt::format_to(to, "gameforge_queue_{}_sum{{queue=\"{}\"}} {}\n", metric, name,
                   static_cast<double>(of.sum_us()) / 1e6);
    fmt::format_to(to, "gameforge_queue_{}_count{{queue=\"{}\"}} {}\n", metric, name, of.count());
  };
  histogram("wait_seconds", "From when a job could run until it was taken.", statistics.wait);
  histogram("run_seconds", "From a job's take until it was done.", statistics.run);
  return out;
}

}  // namespace gf::queue
