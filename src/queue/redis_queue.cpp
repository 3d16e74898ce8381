#include "queue/redis_queue.hpp"

#include "base/clock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

namespace gf::queue {
namespace {

using redis::Repeat;
using redis::Reply;

// How long an idle worker sleeps at most: 4 waits and 4 looks a minute.
constexpr std::int64_t longest_sleep_us = 15'000'000;
// Of a queue that is full, or drains: how often it is looked at again.
constexpr std::int64_t poll_us = 20'000;

Error strange(std::string_view what) {
  return Error{Status::redis_error, fmt::format("the script {} gave what it never should", what), {}};
}
std::string number(std::int64_t value) { return fmt::format("{}", value); }
std::string number(std::uint64_t value) { return fmt::format("{}", value); }

std::string tags_blob(const std::vector<std::string>& tags) {
  std::string out;
  for (const auto& tag : tags) {
    out += static_cast<char>(static_cast<unsigned char>(tag.size()));
    out += tag;
  }
  return out;
}

std::vector<std::string> tags_of(std::string_view blob) {
  std::vector<std::string> tags;
  while (!blob.empty()) {
    const auto size = std::min<std::size_t>(static_cast<unsigned char>(blob.front()), blob.size() - 1);
    tags.emplace_back(blob.substr(1, size));
    blob.remove_prefix(1 + size);
  }
  return tags;
}

/// Highest byte first, as the scripts' struct.unpack reads it.
void append_integer(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out += static_cast<char>((value >> shift) & 0xff);
}

/// A new record from its start time on (redis_scripts.cpp has the layout): what is before is the server's.
std::string fresh_record(const NewJob& job, std::string_view nonce) {
  std::string fixed;
  const auto tags = tags_blob(job.tags);
  for (const std::string_view text : {std::string_view(job.user), std::string_view(job.content_type),
                                      std::string_view(tags), std::string_view(job.idempotency.key)}) {
    append_integer(fixed, text.size(), 4);
    fixed += text;
  }
  append_integer(fixed, job.retry.max_attempts, 8);
  append_integer(fixed, static_cast<std::uint64_t>(job.retry.base_us), 8);
  append_integer(fixed, static_cast<std::uint64_t>(job.retry.cap_us), 8);
  // Started, ended, token, failures.
  constexpr std::string_view zeros = "00000000000000000000000000000000000000000000000000000000";
  static_assert(zeros.size() == 16 + 16 + 16 + 8);
  return fmt::format("{}{:010}{}{:07}0000{}", zeros, job.payload.size(), nonce, fixed.size(), fixed);
}

/// What a lease says of a record that is running. False for one that is none.
bool read_record(std::string_view record, Lease& lease) {
  constexpr std::size_t head = 145;
  bool fine = record.size() >= head;
  // Places as in redis_scripts.cpp, which counts from 1.
  const auto number_at = [&](std::size_t place, std::size_t digits) {
    std::uint64_t value = 0;
    const auto* begin = record.data() + place - 1;
    const auto [end, error] = std::from_chars(begin, begin + digits, value);
    fine = fine && error == std::errc() && end == begin + digits;
    return value;
  };
  if (!fine) return false;
  const auto lane = number_at(2, 1);
  lease.key.fencing_token = number_at(85, 16);
  lease.attempt = static_cast<std::uint32_t>(number_at(101, 8)) + 1;
  lease.enqueued_us = static_cast<std::int64_t>(number_at(37, 16));
  auto rest = record.substr(head);
  const auto next = [&]() -> std::string_view {
    std::size_t size = 0;
    for (std::size_t at = 0; at < 4 && at < rest.size(); ++at) size = size << 8 | static_cast<unsigned char>(rest[at]);
    fine = fine && rest.size() >= 4 && size <= rest.size() - 4;
    if (!fine) return {};
    const auto text = rest.substr(4, size);
    rest.remove_prefix(4 + size);
    return text;
  };
  lease.user = next();
  lease.content_type = next();
  lease.tags = tags_of(next());
  if (!fine || lane >= lane_count) return false;
  lease.priority = static_cast<Priority>(lane);
  return true;
}

/// Gives the jobs at `places` what a plain script answered: good(place) where it did the job, else the error. Leaves in
/// `places` those that the full script has to do.
template <class T, class Good>
void take_plain_answer(const Result<Reply>& reply, std::string_view what, std::vector<std::size_t>& places,
                       std::vector<Result<T>>& answers, Good&& good) {
  if (!reply) {
    for (const auto place : places) answers[place] = reply.error();
    places.clear();
    return;
  }
  const auto& told = reply.value().items;
  if (!told.empty() && told[0].text == "again") return;
  std::vector<std::size_t> again;
  if (!told.empty() && told[0].text == "ok") {
    for (const auto place : places) answers[place] = good(place);
    for (std::size_t at = 1; at < told.size(); ++at) {
      const auto job = told[at].number();
      if (job < 1 || static_cast<std::size_t>(job) > places.size()) continue;
      again.push_back(places[static_cast<std::size_t>(job) - 1]);
    }
    for (const auto place : again) answers[place] = strange(what);
  }
  places = std::move(again);  // Of any other answer: what stands there says already that it is strange.
}

/// `front`, and the filter behind it.
std::vector<std::string> filter_arguments(std::vector<std::string> front, const JobFilter& filter) {
  front.push_back(number(std::uint64_t{static_cast<std::uint32_t>(filter.state)}));
  front.push_back(filter.user ? "1" : "0");
  front.push_back(filter.user.value_or(""));
  front.push_back(filter.tag ? "1" : "0");
  front.push_back(filter.tag.value_or(""));
  front.push_back(filter.status ? number(std::int64_t{static_cast<std::int32_t>(*filter.status)}) : "");
  front.push_back(filter.older_than_us ? number(*filter.older_than_us) : "");
  return front;
}

/// A page's cursor and what is in it. A script refuses a cursor that it did not give as an argument that is none.
Result<Reply> page_of(Result<Reply> reply, std::string_view what) {
  if (!reply) {
    if (reply.error().message.find("GFARG") != std::string::npos) return foreign_cursor();
    return std::move(reply).as_failure();
  }
  if (reply.value().items.size() != 2) return strange(what);
  return reply;
}

Result<BulkOutcome> bulk_of(Result<Reply> reply, std::string_view what) {
  GF_TRY(const auto page, page_of(std::move(reply), what));
  return BulkOutcome{static_cast<std::uint64_t>(page.items[1].number()), page.items[0].text};
}

Priority priority_of(const Reply& reply) {
  return static_cast<Priority>(std::clamp<std::int64_t>(reply.number(1), 0, lane_count - 1));
}

JobState state_of(const Reply& reply) {
  return static_cast<JobState>(std::clamp<std::int64_t>(reply.number(), 0, state_count - 1));
}

Status status_of(const Reply& reply) {
  const auto value = static_cast<std::int32_t>(reply.number());
  return find_status(value) != nullptr ? static_cast<Status>(value) : Status::internal;
}

Result<JobRecord> record_of(const Reply& reply) {
  if (reply.items.size() != 30) return strange("get");
  const auto& of = reply.items;
  JobRecord record;
  GF_TRY(record.id, parse_job_id(of[0].text));
  record.state = state_of(of[1]);
  record.priority = priority_of(of[2]);
  record.user = of[3].text;
  record.payload = of[4].text;
  record.content_type = of[5].text;
  record.tags = tags_of(of[6].text);
  record.idempotency_key = of[7].text;
  record.retry = {static_cast<std::uint32_t>(of[8].number()), of[9].number(), of[10].number()};
  record.enqueued_us = of[11].number();
  record.available_us = of[12].number();
  record.deadline_us = of[13].number();
  record.started_us = of[14].number();
  record.finished_us = of[15].number();
  record.lease_expires_us = of[16].number();
  record.fencing_token = static_cast<std::uint64_t>(of[17].number());
  record.failures = static_cast<std::uint32_t>(of[18].number());
  record.crashes = static_cast<std::uint32_t>(of[19].number());
  record.cancel_requested = of[20].number() != 0;
  record.worker = of[21].text;
  record.progress = {static_cast<std::uint64_t>(of[22].number()), static_cast<std::uint64_t>(of[23].number()),
                     of[24].text};
  record.result = {of[25].text, of[26].text};
  record.end_status = status_of(of[27]);
  record.end_message = of[28].text;
  for (const auto& line : of[29].items) {
    if (line.items.size() != 7) return strange("get");
    record.history.push_back({static_cast<std::uint64_t>(line.items[0].number()), line.items[1].number(),
                              line.items[2].number(),
                              static_cast<AttemptEnd>(std::clamp<std::int64_t>(line.items[3].number(), 0, 2)),
                              status_of(line.items[4]), line.items[5].text, line.items[6].text});
  }
  return record;
}

/// What a worker that lost its server should do is to ask again; anything else is for its host.
bool may_come_back(Status status) {
  return status == Status::network_error || status == Status::timed_out || status == Status::redis_error;
}

}  // namespace

struct RedisQueue::Setup {
  Setup(const QueueOptions& of, const RedisScriptContext& context) : options(of) {
    for (std::size_t at = 0; at < redis_script_count; ++at) {
      scripts.emplace_back(redis_script(static_cast<RedisScript>(at), of, context));
    }
  }
  const QueueOptions options;
  const bool has_plain = has_plain_scripts(options);
  std::deque<redis::Script> scripts;  // A deque, as they cannot be moved.
};

Result<std::unique_ptr<RedisQueue>> RedisQueue::create(RedisQueueOptions options) {
  GF_TRYV(check(options.queue));
  GF_TRYV(check_name("name_space", options.name_space, false));
  GF_TRYV(check_name("name", options.name, false));
  for (const auto* name : {&options.name_space, &options.name}) {
    if (name->find_first_of("{}") != std::string::npos) {
      return Error{Status::invalid_argument,
                   fmt::format("{} has a brace, which would cut the hash tag of the queue's keys", *name),
                   {}};
    }
  }
  GF_TRY(auto client, redis::Client::create(options.url, options.client));
  GF_TRY(auto waiting, redis::Client::create(options.url, options.client));
  std::unique_ptr<RedisQueue> queue(new RedisQueue(std::move(options), std::move(client), std::move(waiting)));
  GF_TRYV(queue->check_server());
  const auto setup = queue->setup();
  GF_TRY(const auto opened, queue->run(*setup, RedisScript::open, {}, Repeat::safe));
  if (opened.items.empty()) return strange("open");
  if (opened.items[0].text == "version") {
    return Error{Status::schema_too_new,
                 fmt::format("the keys of queue {} have schema {}; this version of the library knows {}",
                             queue->options_.name, opened.items.back().text, redis_schema_version),
                 {}};
  }
  if (opened.items[0].text != "ok") {
    return Error{Status::wrong_state, fmt::format("the keys of queue {} are no queue's", queue->options_.name), {}};
  }
  return queue;
}

RedisQueue::RedisQueue(RedisQueueOptions options, std::unique_ptr<redis::Client> client,
                       std::unique_ptr<redis::Client> waiting)
    : options_(std::move(options)),
      keys_(redis_keys(options_.name_space, options_.name)),
      client_(std::move(client)),
      waiting_(std::move(waiting)) {}

RedisQueue::~RedisQueue() = default;

Result<void> RedisQueue::check_server() {
  GF_TRY(const auto info, client_->server_info());
  int major = 0;
  int minor = 0;
  const auto* end = info.version.data() + info.version.size();
  const auto [dot, error] = std::from_chars(info.version.data(), end, major);
  if (error == std::errc() && dot != end) (void)std::from_chars(dot + 1, end, minor);
  if (major < 6 || (major == 6 && minor < 2)) {
    return Error{Status::unsupported,
                 fmt::format("{} is Redis {}; 6.2 or later is needed", client_->url().shown(), info.version),
                 {}};
  }
  has_flags_ = major >= 7;
  setup_ = std::make_shared<Setup>(options_.queue, RedisScriptContext{options_.test_clock, has_flags_});
  std::string trouble;
  if (!info.maxmemory_policy.empty() && info.maxmemory_policy != "noeviction" && info.maxmemory_bytes != 0) {
    trouble = fmt::format("evicts keys when memory is short (maxmemory-policy {}): leases and jobs can vanish",
                          info.maxmemory_policy);
  } else if (info.appendonly == "no") {
    trouble = info.save.empty() ? "keeps nothing on disk: a restart loses every job"
                                : "keeps snapshots only: a crash loses the jobs since the last one";
  } else if (info.appendonly == "yes" && info.appendfsync != "always") {
    trouble =
        fmt::format("writes its log with appendfsync {}: a crash can lose the last second and more", info.appendfsync);
  }
  if (trouble.empty()) return success();
  const auto message = fmt::format("{} {}", client_->url().shown(), trouble);
  if (options_.strict) return Error{Status::unsupported, message, {}};
  if (options_.log != nullptr && options_.log->enabled(LogLevel::warning)) {
    options_.log->write(LogLevel::warning, "queue", message);
  }
  return success();
}

std::shared_ptr<RedisQueue::Setup> RedisQueue::setup() const {
  const std::lock_guard lock(mutex_);
  return setup_;
}

std::string RedisQueue::nonce() const { return fmt::format("{:016x}", random_bits()); }

Error RedisQueue::lost(const LeaseKey& key) const {
  Error error{Status::lease_lost, fmt::format("lease {} of job {} is over", key.fencing_token, to_text(key.id)), {}};
  if (options_.log != nullptr && options_.log->enabled(LogLevel::warning)) {
    options_.log->write(LogLevel::warning, "queue", error.message);
  }
  return error;
}

void RedisQueue::log_expired(const Reply& letters) const {
  if (options_.log == nullptr || !options_.log->enabled(LogLevel::warning)) return;
  for (const auto& letter : letters.items) {
    options_.log->write(LogLevel::warning, "queue", fmt::format("dead letter expires: {}", letter.text));
  }
}

Result<Reply> RedisQueue::run_after_sweep(Setup& setup, RedisScript script, std::vector<std::string> arguments) {
  // The last argument says that it is to be done whatever is due: then more is due than one sweep does.
  arguments.emplace_back("0");
  for (int turn = 0; turn < 3; ++turn) {
    if (turn == 2) arguments.back() = "1";
    GF_TRY(auto reply, run(setup, script, arguments, Repeat::safe));
    if (reply.items.size() != 1 || reply.items[0].text != "due") return reply;
    GF_TRYV(sweep());
  }
  return strange("sweep");
}

Result<Reply> RedisQueue::run(Setup& setup, RedisScript script, std::vector<std::string> arguments, Repeat repeat) {
  redis::ScriptCall call;
  call.script = &setup.scripts[static_cast<std::size_t>(script)];
  const auto keys = keys_of(script);
  call.keys.reserve(keys.size());
  for (const auto key : keys) call.keys.push_back(keys_[static_cast<std::size_t>(key)]);
  call.arguments = std::move(arguments);
  return client_->run(call, repeat);
}

// ---- Enqueue --------------------------------------------------------------------------------------------------------

std::vector<Result<Enqueued>> RedisQueue::enqueue_many(std::vector<NewJob> jobs) {
  std::vector<Result<Enqueued>> answers;
  answers.reserve(jobs.size());
  const auto of = setup();
  // A script touches at most a thousand jobs, and no more than some megabytes.
  constexpr std::size_t most_jobs = 500;
  constexpr std::size_t most_bytes = 4 << 20;
  std::vector<std::string> nonces(jobs.size());
  std::vector<std::size_t> places;  // In jobs and answers, of those that go together.
  std::size_t bytes = 0;
  bool plain = true;
  const auto send = [&] {
    if (places.empty()) return;
    if (plain) enqueue_plain(*of, jobs, nonces, places, answers);
    if (!places.empty()) enqueue_fully(*of, jobs, nonces, places, answers);
    places.clear();
    bytes = 0;
    plain = of->has_plain;
  };
  plain = of->has_plain;
  for (auto& job : jobs) {
    auto fine = check(job, of->options);
    if (closed_) {
      answers.emplace_back(queue_is_closed());
      continue;
    }
    if (fine && job.attachment) {
      fine = Error{Status::unsupported, "an attachment stays in the process; a queue in Redis takes bytes alone", {}};
    }
    if (!fine) {
      answers.emplace_back(std::move(fine).as_failure());
      continue;
    }
    if (places.size() >= most_jobs || bytes + job.payload.size() > most_bytes) send();
    // The id is made here, so that a repeat of what was lost is the same job.
    if (job.id.is_nil()) job.id = ids_.make(system_clock().unix_us(), random_bits());
    bytes += job.payload.size();
    plain = plain && job.idempotency.key.empty() && job.delay_us == 0 && !job.deadline_us;
    places.push_back(answers.size());
    nonces[answers.size()] = nonce();
    answers.emplace_back(strange("enqueue"));
  }
  send();
  return answers;
}

void RedisQueue::enqueue_plain(Setup& of, std::vector<NewJob>& jobs, const std::vector<std::string>& nonces,
                               std::vector<std::size_t>& places, std::vector<Result<Enqueued>>& answers) {
  std::vector<std::string> arguments;
  arguments.reserve(1 + 4 * places.size());
  arguments.push_back(number(std::uint64_t{places.size()}));
  for (const auto place : places) {
    auto& job = jobs[place];
    arguments.push_back(to_text(job.id));
    arguments.push_back(fmt::format("{}{}", static_cast<std::uint32_t>(job.priority), job.user));
    auto record = fresh_record(job, nonces[place]);
    arguments.push_back(job.payload);
    arguments.push_back(std::move(record));
  }
  take_plain_answer(run(of, RedisScript::plain_enqueue, std::move(arguments), Repeat::safe), "enqueue", places, answers,
                    [&](std::size_t place) {
                      return Enqueued{jobs[place].id, false, JobState::waiting};
                    });
}

void RedisQueue::enqueue_fully(Setup& of, std::vector<NewJob>& jobs, const std::vector<std::string>& nonces,
                               const std::vector<std::size_t>& places, std::vector<Result<Enqueued>>& answers) {
  std::vector<std::string> arguments;
  arguments.reserve(2 + 16 * places.size());
  arguments.push_back(number(std::uint64_t{places.size()}));
  for (const auto place : places) {
    auto& job = jobs[place];
    arguments.push_back(to_text(job.id));
    arguments.push_back(nonces[place]);
    arguments.push_back(number(std::uint64_t{static_cast<std::uint32_t>(job.priority)}));
    arguments.push_back(std::move(job.user));
    arguments.push_back(std::move(job.payload));
    arguments.push_back(std::move(job.content_type));
    arguments.push_back(tags_blob(job.tags));
    arguments.push_back(std::move(job.idempotency.key));
    arguments.push_back(number(std::uint64_t{static_cast<std::uint32_t>(job.idempotency.scope)}));
    arguments.push_back(number(job.idempotency.ttl_us));
    arguments.push_back(number(std::uint64_t{static_cast<std::uint32_t>(job.idempotency.on_duplicate)}));
    arguments.push_back(number(job.delay_us));
    arguments.push_back(job.deadline_us ? number(*job.deadline_us) : std::string());
    arguments.push_back(number(std::uint64_t{job.retry.max_attempts}));
    arguments.push_back(number(job.retry.base_us));
    arguments.push_back(number(job.retry.cap_us));
  }
  auto reply = run_after_sweep(of, RedisScript::enqueue, std::move(arguments));
  for (std::size_t at = 0; at < places.size(); ++at) {
    auto& answer = answers[places[at]];
    if (!reply) {
      answer = reply.error();
      continue;
    }
    if (reply.value().items.size() != places.size() + 1 || reply.value().items[at].items.empty()) {
      answer = strange("enqueue");
      continue;
    }
    const auto& told = reply.value().items[at].items;
    const auto& word = told[0].text;
    if (word == "full") {
      answer = Error{Status::queue_full, told.at(1).text, {}};
      continue;
    }
    auto id = parse_job_id(told.at(1).text);
    if (!id) {
      answer = strange("enqueue");
    } else if (word == "ok") {
      answer = Enqueued{id.value(), told.at(2).number() != 0, state_of(told.at(3))};
    } else if (word == "held") {
      answer = Error{
          Status::already_exists,
          fmt::format("the key is held by job {}, which is {}", to_text(id.value()), name_of(state_of(told.at(3)))),
          {}};
    } else {
      answer = Error{Status::already_exists, fmt::format("job {} is in the queue already", to_text(id.value())), {}};
    }
  }
  if (reply && !reply.value().items.empty()) log_expired(reply.value().items.back());
}

Result<Enqueued> RedisQueue::enqueue(NewJob job, std::int64_t timeout_us) {
  GF_TRYV(check_timeout(timeout_us));
  if (timeout_us == 0) {
    std::vector<NewJob> one;
    one.push_back(std::move(job));
    return std::move(enqueue_many(std::move(one))[0]);
  }
  if (job.id.is_nil()) job.id = ids_.make(system_clock().unix_us(), random_bits());
  const auto until_us = redis::Connection::now_us() + std::min(timeout_us, longest_timeout_us);
  for (;;) {
    std::vector<NewJob> one(1, job);
    auto answer = std::move(enqueue_many(std::move(one))[0]);
    const auto left_us = until_us - redis::Connection::now_us();
    if (answer || answer.error().status != Status::queue_full || left_us <= 0) return answer;
    // On a list that nobody writes to: the wait ends with close().
    const auto wait =
        waiting_->call_blocking({"BLPOP", keys_[static_cast<std::size_t>(RedisKey::wake)] + ":none",
                                 fmt::format("{:.3f}", static_cast<double>(std::min(left_us, poll_us)) / 1e6)},
                                poll_us);
    if (!wait && wait.error().status == Status::shutting_down) return queue_is_closed();
  }
}

// ---- Reserve --------------------------------------------------------------------------------------------------------

Result<std::vector<Lease>> RedisQueue::reserve(const ReserveRequest& request) {
  GF_TRYV(check(request));
  std::optional<std::int64_t> until_us;
  if (request.timeout_us) until_us = redis::Connection::now_us() + std::min(*request.timeout_us, longest_timeout_us);
  const auto over = [&] { return until_us && redis::Connection::now_us() >= *until_us; };
  for (;;) {
    if (closed_) return queue_is_closed();
    const auto of = setup();
    const auto lease_us = request.lease_us == 0 ? of->options.lease_us : request.lease_us;
    Result<Reply> reply = strange("reserve");
    bool plain = of->has_plain;
    if (plain) {
      reply = run(*of, RedisScript::plain_reserve,
                  {number(std::uint64_t{request.count}), number(lease_us), request.worker,
                   fmt::format("{:04}", request.worker.size())},
                  Repeat::no);
      plain = !reply || reply.value().items.size() != 1;
    }
    if (!plain) {
      reply = run(*of, RedisScript::reserve, {number(std::uint64_t{request.count}), number(lease_us), request.worker},
                  Repeat::no);
    }
    if (!reply) {
      // The client has tried for its own time already, with its pauses. A worker goes on trying.
      if (!may_come_back(reply.error().status) || over()) return std::move(reply).as_failure();
      continue;
    }
    if (reply.value().items.size() != 6) return strange("reserve");
    last_take_us_.store(redis::Connection::now_us(), std::memory_order_relaxed);
    auto& told = reply.value().items;
    log_expired(told[5]);
    std::vector<Lease> leases;
    leases.reserve(told[3].items.size() / 3);
    auto& fields = told[3].items;
    for (std::size_t at = 0; at + 3 <= fields.size(); at += 3) {
      Lease lease;
      GF_TRY(lease.key.id, parse_job_id(fields[at].text));
      if (!read_record(fields[at + 1].text, lease)) return strange("reserve");
      lease.payload = std::move(fields[at + 2].text);
      lease.expires_at_us = told[4].number();
      leases.push_back(std::move(lease));
    }
    if (!leases.empty() || over()) return leases;
    if (told[2].number() != 0) continue;  // More was due than one script does.
    auto sleep_us = std::min(longest_sleep_us, std::max<std::int64_t>(of->options.lease_us / 2, 1000));
    if (const auto due_us = told[1].number(); due_us != 0) {
      sleep_us = std::clamp<std::int64_t>(due_us - told[0].number(), 1000, sleep_us);
    }
    if (until_us) sleep_us = std::min(sleep_us, std::max<std::int64_t>(*until_us - redis::Connection::now_us(), 1000));
    // Milliseconds, rounded up: a wait of 0 would be one without end.
    const auto wait =
        waiting_->call_blocking({"BLPOP", keys_[static_cast<std::size_t>(RedisKey::wake)],
                                 fmt::format("{:.3f}", std::ceil(static_cast<double>(sleep_us) / 1e3) / 1e3)},
                                sleep_us);
    if (!wait && wait.error().status == Status::shutting_down) return queue_is_closed();
    if (!wait && !may_come_back(wait.error().status)) return wait.error();
  }
}

// ---- What a holder says ---------------------------------------------------------------------------------------------

Result<Heartbeat> RedisQueue::extend(const LeaseKey& key, std::int64_t lease_us) {
  if (lease_us < 0 || lease_us > max_delay_us) {
    return Error{
        Status::invalid_argument, fmt::format("lease_us is {}; it must be 0 to {}", lease_us, max_delay_us), {}};
  }
  const auto of = setup();
  GF_TRY(const auto reply,
         run(*of, RedisScript::extend,
             {to_text(key.id), number(key.fencing_token), number(lease_us == 0 ? of->options.lease_us : lease_us)},
             Repeat::safe));
  if (reply.items.empty()) return strange("extend");
  if (reply.items[0].text != "ok") return lost(key);
  return Heartbeat{reply.items.at(1).number(), reply.items.at(2).number() != 0};
}

Result<void> RedisQueue::report_progress(const LeaseKey& key, const Progress& progress) {
  const auto of = setup();
  GF_TRY(const auto reply, run(*of, RedisScript::progress,
                               {to_text(key.id), number(key.fencing_token), number(progress.done),
                                number(progress.total), cut_message(progress.note)},
                               Repeat::safe));
  if (reply.items.empty()) return strange("progress");
  if (reply.items[0].text != "ok") return lost(key);
  return success();
}

std::vector<Result<void>> RedisQueue::complete_many(std::vector<Completion> completions) {
  std::vector<Result<void>> answers;
  answers.reserve(completions.size());
  const auto of = setup();
  const bool keeps = of->options.kept_finished != 0 && of->options.kept_finished_us != 0;
  std::vector<std::string> nonces(completions.size());
  std::vector<std::size_t> places;
  bool plain = of->has_plain;
  const auto send = [&] {
    if (places.empty()) return;
    if (plain) complete_plain(*of, completions, nonces, places, answers);
    if (!places.empty()) complete_fully(*of, completions, nonces, places, answers);
    places.clear();
    plain = of->has_plain;
  };
  for (auto& completion : completions) {
    const auto bytes = completion.result.reference.size() + completion.result.bytes.size();
    if (bytes > of->options.max_result_bytes) {
      answers.emplace_back(
          Error{Status::payload_too_large,
                fmt::format("the result has {} bytes; max_result_bytes is {}", bytes, of->options.max_result_bytes),
                {}});
      continue;
    }
    if (places.size() >= 500) send();
    plain = plain && (bytes == 0 || !keeps);
    places.push_back(answers.size());
    nonces[answers.size()] = nonce();
    answers.emplace_back(strange("complete"));
  }
  send();
  return answers;
}

void RedisQueue::complete_plain(Setup& of, const std::vector<Completion>& completions,
                                const std::vector<std::string>& nonces, std::vector<std::size_t>& places,
                                std::vector<Result<void>>& answers) {
  std::vector<std::string> arguments;
  arguments.reserve(1 + 3 * places.size());
  arguments.push_back(number(std::uint64_t{places.size()}));
  for (const auto place : places) {
    const auto& key = completions[place].key;
    arguments.push_back(to_text(key.id));
    arguments.push_back(fmt::format("{:016}", key.fencing_token));
    arguments.push_back(nonces[place]);
  }
  take_plain_answer(run(of, RedisScript::plain_complete, std::move(arguments), Repeat::safe), "complete", places,
                    answers, [](std::size_t) { return success(); });
}

void RedisQueue::complete_fully(Setup& of, std::vector<Completion>& completions, const std::vector<std::string>& nonces,
                                const std::vector<std::size_t>& places, std::vector<Result<void>>& answers) {
  std::vector<std::string> arguments;
  arguments.reserve(2 + 5 * places.size());
  arguments.push_back(number(std::uint64_t{places.size()}));
  for (const auto place : places) {
    auto& completion = completions[place];
    arguments.push_back(to_text(completion.key.id));
    arguments.push_back(number(completion.key.fencing_token));
    arguments.push_back(nonces[place]);
    arguments.push_back(std::move(completion.result.reference));
    arguments.push_back(std::move(completion.result.bytes));
  }
  const auto reply = run_after_sweep(of, RedisScript::complete, std::move(arguments));
  for (std::size_t at = 0; at < places.size(); ++at) {
    auto& answer = answers[places[at]];
    if (!reply) {
      answer = reply.error();
    } else if (reply.value().items.size() != places.size()) {
      answer = strange("complete");
    } else if (reply.value().items[at].text == "ok") {
      answer = success();
    } else {
      answer = lost(completions[places[at]].key);
    }
  }
}

Result<void> RedisQueue::complete(const LeaseKey& key, JobResult result) {
  std::vector<Completion> one;
  one.push_back({key, std::move(result)});
  return std::move(complete_many(std::move(one))[0]);
}

Result<FailOutcome> RedisQueue::fail(const LeaseKey& key, const Failure& failure) {
  const auto of = setup();
  const bool retry = failure.action == FailureAction::retry || (failure.action == FailureAction::by_rules &&
                                                                is_retryable(failure.status, of->options.retry_rules));
  GF_TRY(const auto reply, run(*of, RedisScript::fail,
                               {to_text(key.id), number(key.fencing_token), nonce(),
                                number(std::int64_t{static_cast<std::int32_t>(failure.status)}),
                                cut_message(failure.message), retry ? "1" : "0", number(random_bits() >> 11)},
                               Repeat::safe));
  if (reply.items.empty()) return strange("fail");
  if (reply.items[0].text != "ok") return lost(key);
  if (reply.items.size() != 4) return strange("fail");
  log_expired(reply.items[3]);
  return FailOutcome{state_of(reply.items[1]), reply.items[2].number()};
}

Result<FailOutcome> RedisQueue::release(const LeaseKey& key, std::int64_t delay_us) {
  if (delay_us < 0 || delay_us > max_delay_us) {
    return Error{
        Status::invalid_argument, fmt::format("delay_us is {}; it must be 0 to {}", delay_us, max_delay_us), {}};
  }
  const auto of = setup();
  GF_TRY(const auto reply, run(*of, RedisScript::release,
                               {to_text(key.id), number(key.fencing_token), nonce(), number(delay_us)}, Repeat::safe));
  if (reply.items.empty()) return strange("release");
  if (reply.items[0].text != "ok") return lost(key);
  if (reply.items.size() != 3) return strange("release");
  log_expired(reply.items[2]);
  return FailOutcome{state_of(reply.items[1]), delay_us};
}

// ---- One job, and many ----------------------------------------------------------------------------------------------

Result<CancelOutcome> RedisQueue::cancel(const JobId& id) {
  const auto of = setup();
  GF_TRY(const auto reply, run(*of, RedisScript::cancel, {to_text(id)}, Repeat::no));
  if (reply.items.empty()) return strange("cancel");
  const auto& word = reply.items[0].text;
  if (word == "cancelled") return CancelOutcome::cancelled;
  if (word == "requested") return CancelOutcome::requested;
  if (word == "over") {
    return Error{
        Status::wrong_state, fmt::format("job {} is {}", to_text(id), name_of(state_of(reply.items.at(1)))), {}};
  }
  return unknown_job(id);
}

Result<JobRecord> RedisQueue::get(const JobId& id) {
  const auto of = setup();
  GF_TRY(const auto reply, run(*of, RedisScript::get, {to_text(id)}, Repeat::safe));
  if (reply.items.empty()) return unknown_job(id);
  return record_of(reply);
}

Result<JobPage> RedisQueue::list(const JobFilter& filter, const std::string& cursor, std::uint32_t limit) {
  GF_TRYV(check_page(limit));
  const auto of = setup();
  GF_TRY(const auto reply, page_of(run(*of, RedisScript::list,
                                       filter_arguments({cursor, number(std::uint64_t{limit})}, filter), Repeat::safe),
                                   "list"));
  JobPage page;
  page.cursor = reply.items[0].text;
  for (const auto& item : reply.items[1].items) {
    GF_TRY(auto record, record_of(item));
    page.jobs.push_back(std::move(record));
  }
  return page;
}

Result<BulkOutcome> RedisQueue::purge(const JobFilter& filter, const std::string& cursor) {
  GF_TRYV(check_purge(filter));
  const auto of = setup();
  return bulk_of(run(*of, RedisScript::purge, filter_arguments({cursor}, filter), Repeat::no), "purge");
}

Result<void> RedisQueue::requeue(const JobId& id) {
  const auto of = setup();
  GF_TRY(const auto reply, run(*of, RedisScript::requeue, {to_text(id)}, Repeat::no));
  if (reply.items.empty()) return strange("requeue");
  if (reply.items[0].text == "ok") return success();
  if (reply.items[0].text == "unknown") return unknown_job(id);
  return no_dead_letter(id, state_of(reply.items.at(1)));
}

Result<BulkOutcome> RedisQueue::requeue_many(const JobFilter& filter, const std::string& cursor) {
  GF_TRYV(check_requeue(filter));
  const auto of = setup();
  return bulk_of(run(*of, RedisScript::requeue_many, filter_arguments({cursor}, filter), Repeat::no), "requeue_many");
}

// ---- The queue as a whole -------------------------------------------------------------------------------------------

Result<void> RedisQueue::set_paused(bool paused) {
  const auto of = setup();
  GF_TRYV(run(*of, RedisScript::pause, {paused ? "1" : "0"}, Repeat::safe));
  return success();
}

Result<bool> RedisQueue::drain(std::int64_t timeout_us) {
  GF_TRYV(check_timeout(timeout_us));
  const auto until_us = redis::Connection::now_us() + std::min(timeout_us, longest_timeout_us);
  for (;;) {
    const auto of = setup();
    GF_TRY(const auto reply, run(*of, RedisScript::pause, {"1"}, Repeat::safe));
    if (reply.items.size() != 3) return strange("pause");
    if (reply.items[0].number() == 0) return true;
    const auto left_us = until_us - redis::Connection::now_us();
    if (left_us <= 0) return false;
    const auto wait = waiting_->call_blocking(
        {"BLPOP", keys_[static_cast<std::size_t>(RedisKey::wake)] + ":none",
         fmt::format("{:.3f}", static_cast<double>(std::max<std::int64_t>(std::min(left_us, poll_us), 1000)) / 1e6)},
        poll_us);
    if (!wait && wait.error().status == Status::shutting_down) return queue_is_closed();
  }
}

Result<Statistics> RedisQueue::statistics() {
  const auto of = setup();
  GF_TRY(const auto reply, run(*of, RedisScript::statistics, {}, Repeat::safe));
  if (reply.items.size() != 5) return strange("statistics");
  Statistics out;
  out.oldest_waiting_us = reply.items[0].number();
  out.dead = static_cast<std::uint64_t>(reply.items[1].number());
  out.finished_kept = static_cast<std::uint64_t>(reply.items[2].number());
  out.users = static_cast<std::uint64_t>(reply.items[3].number());
  std::array<std::uint64_t, lane_count> delayed{};
  std::int64_t wait_sum_us = 0;
  std::int64_t run_sum_us = 0;
  const auto& fields = reply.items[4].items;
  const auto count_of = [](const Reply& value) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(value.number(), 0));
  };
  const std::array<std::pair<std::string_view, std::uint64_t*>, 18> totals = {{
      {"accepted", &out.totals.accepted},
      {"duplicates", &out.totals.duplicates},
      {"rejected", &out.totals.rejected},
      {"taken", &out.totals.taken},
      {"renewed", &out.totals.renewed},
      {"done", &out.totals.done},
      {"failed", &out.totals.failed},
      {"retried", &out.totals.retried},
      {"released", &out.totals.released},
      {"recovered", &out.totals.recovered},
      {"fenced", &out.totals.fenced_off},
      {"cancelled", &out.totals.cancelled},
      {"expired", &out.totals.expired},
      {"died", &out.totals.died},
      {"dropped", &out.totals.dropped},
      {"requeued", &out.totals.requeued},
      {"removed", &out.totals.removed},
      {"run", &out.running},

  }};
  for (std::size_t at = 0; at + 1 < fields.size(); at += 2) {
    const std::string_view name = fields[at].text;
    const auto& value = fields[at + 1];
    if (const auto total = std::ranges::find(totals, name, [](const auto& row) { return row.first; });
        total != totals.end()) {
      *total->second = count_of(value);
    } else if (name == "paused") {
      out.paused = value.text == "1";
    } else if (name == "db") {
      out.dead_bytes = count_of(value);
    } else if (name == "Ws") {
      wait_sum_us = value.number();
    } else if (name == "Rs") {
      run_sum_us = value.number();
    } else if (name.size() == 2 && name[0] == 'n' && name[1] >= '0' && name[1] <= '2') {
      out.waiting[static_cast<std::size_t>(name[1] - '0')] = count_of(value);
    } else if (name.size() == 2 && name[0] == 'd' && name[1] >= '0' && name[1] <= '2') {
      delayed[static_cast<std::size_t>(name[1] - '0')] = count_of(value);
    } else if (name.size() == 2 && name[0] == 'b' && name[1] >= '0' && name[1] <= '2') {
      out.payload_bytes += count_of(value);
    } else if (name.size() > 1 && (name[0] == 'W' || name[0] == 'R')) {
      std::size_t bucket = Histogram::bucket_count;
      const auto* end = name.data() + name.size();
      if (const auto [stop, error] = std::from_chars(name.data() + 1, end, bucket);
          error == std::errc() && stop == end) {
        (name[0] == 'W' ? out.wait : out.run).add_bucket(bucket, count_of(value), 0);
      }
    }
  }
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    out.delayed += delayed[lane];
    out.waiting[lane] -= std::min(out.waiting[lane], delayed[lane]);
  }
  out.wait.add_bucket(0, 0, wait_sum_us);
  out.run.add_bucket(0, 0, run_sum_us);
  return out;
}

Result<UserStatistics> RedisQueue::user_statistics(const std::string& user) {
  GF_TRYV(check_name("user", user, true));
  UserStatistics out;
  GF_TRY(const auto running,
         client_->call({"HGET", keys_[static_cast<std::size_t>(RedisKey::users)], user}, Repeat::safe));
  out.running = static_cast<std::uint64_t>(std::max<std::int64_t>(running.number(), 0));
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    const auto line = fmt::format("{}{}", lane, user);
    GF_TRY(const auto waiting, client_->call({"ZLEXCOUNT", keys_[static_cast<std::size_t>(RedisKey::fifo)],
                                              "[" + line + std::string(1, '\0'), "(" + line + '\1'},
                                             Repeat::safe));
    out.waiting += static_cast<std::uint64_t>(std::max<std::int64_t>(waiting.number(), 0));
  }
  return out;
}

Result<EventPage> RedisQueue::events(std::uint64_t after, std::uint32_t limit, std::int64_t timeout_us) {
  GF_TRYV(check_timeout(timeout_us));
  const auto until_us = redis::Connection::now_us() + std::min(timeout_us, longest_timeout_us);
  for (;;) {
    const auto of = setup();
    if (of->options.kept_events == 0) {
      return makes_no_events();
    }
    GF_TRY(const auto reply,
           run(*of, RedisScript::events, {number(after), number(std::uint64_t{std::max<std::uint32_t>(limit, 1)})},
               Repeat::safe));
    if (reply.items.size() != 2) return strange("events");
    EventPage page;
    page.next = after;
    for (const auto& item : reply.items[1].items) {
      if (item.items.size() != 2 || page.events.size() >= limit) continue;
      QueueEvent event;
      event.sequence = static_cast<std::uint64_t>(item.items[0].number());
      // "type id token status time", as the scripts write it.
      std::array<std::string_view, 5> words;
      std::string_view rest = item.items[1].text;
      for (auto& word : words) {
        word = rest.substr(0, rest.find(' '));
        rest.remove_prefix(std::min(rest.size(), word.size() + 1));
      }
      const auto value_of = [](std::string_view word) {
        std::int64_t value = 0;
        (void)std::from_chars(word.data(), word.data() + word.size(), value);
        return value;
      };
      const auto type = value_of(words[0]);
      const auto id = parse_job_id(words[1]);
      if (type < 0 || type >= static_cast<std::int64_t>(event_type_count) || !id) return strange("events");
      event.type = static_cast<EventType>(type);
      event.id = id.value();
      event.fencing_token = static_cast<std::uint64_t>(value_of(words[2]));
      event.status = static_cast<Status>(value_of(words[3]));
      event.time_us = value_of(words[4]);
      page.events.push_back(event);
    }
    const auto last = static_cast<std::uint64_t>(std::max<std::int64_t>(reply.items[0].number(), 0));
    if (!page.events.empty()) {
      page.missed = page.events.front().sequence - after - 1;
      page.next = page.events.back().sequence;
      return page;
    }
    if (last > after && limit > 0) {
      page.missed = last - after;  // All of them are gone.
      page.next = last;
      return page;
    }
    const auto left_us = until_us - redis::Connection::now_us();
    if (left_us <= 0 || limit == 0) return page;
    const auto wait_us = std::min(left_us, longest_sleep_us);
    const auto wait =
        waiting_->call_blocking({"XREAD", "COUNT", "1", "BLOCK", number((wait_us + 999) / 1000), "STREAMS",
                                 keys_[static_cast<std::size_t>(RedisKey::events)], fmt::format("{}-1", after)},
                                wait_us);
    if (!wait && (wait.error().status == Status::shutting_down || !may_come_back(wait.error().status))) {
      return wait.error();
    }
  }
}

Result<bool> RedisQueue::sweep() {
  const auto of = setup();
  GF_TRY(const auto reply, run(*of, RedisScript::sweep, {}, Repeat::safe));
  if (reply.items.size() != 2) return strange("sweep");
  log_expired(reply.items[1]);
  return reply.items[0].number() != 0;
}

Result<void> RedisQueue::configure(const QueueOptions& options) {
  GF_TRYV(check(options));
  const auto fresh = std::make_shared<Setup>(options, RedisScriptContext{options_.test_clock, has_flags_});
  for (bool more = true; more;) {
    GF_TRY(const auto reply, run(*fresh, RedisScript::configure, {}, Repeat::safe));
    if (reply.items.size() != 1) return strange("configure");
    more = reply.items[0].number() != 0;
  }
  const std::lock_guard lock(mutex_);
  setup_ = fresh;
  return success();
}

void RedisQueue::close() {
  closed_ = true;
  waiting_->close();
}

std::int64_t RedisQueue::since_last_take_us() const {
  const auto last_us = last_take_us_.load(std::memory_order_relaxed);
  return last_us == 0 ? 0 : redis::Connection::now_us() - last_us;
}

}  // namespace gf::queue
