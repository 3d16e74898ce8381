// gameforge queue: everything that a queue in Redis can do, for operators and for workers that are scripts.
#include "commands.hpp"
#include "host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string_view>
#include <thread>

#include <unistd.h>

namespace command {
namespace {

constexpr std::uint32_t most_at_once = 1000;
constexpr std::int64_t bulk_timeout_us = 3600'000'000;

/// Seconds, with a fraction, as microseconds.
std::int64_t microseconds_of(double seconds, const char* option, double smallest = 0) {
  if (!(seconds >= smallest) || seconds > 1e9) {
    throw wrong(fmt::format("{} is {} seconds; it must be {} to 1e9", option, seconds, smallest));
  }
  return static_cast<std::int64_t>(std::llround(seconds * 1e6));
}

/// A duration for people: "850 us", "12.3 ms", "4.0 s", "3 min", "2.5 h".
std::string duration(std::int64_t us) {
  const auto value = static_cast<double>(us);
  if (us < 1000) return fmt::format("{} us", us);
  if (us < 1'000'000) return fmt::format("{:.1f} ms", value / 1e3);
  if (us < 120'000'000) return fmt::format("{:.1f} s", value / 1e6);
  if (us < 7200'000'000) return fmt::format("{:.0f} min", value / 60e6);
  return fmt::format("{:.1f} h", value / 3600e6);
}

/// UTC, to the second; "-" where there is no time.
std::string date(std::int64_t unix_us) {
  if (unix_us == 0) return "-";
  const auto seconds = static_cast<std::time_t>(unix_us / 1'000'000);
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return "-";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string base64(const std::string& bytes) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t group = 0;
    const auto count = std::min<std::size_t>(3, bytes.size() - at);
    for (std::size_t index = 0; index < 3; ++index) {
      group = group << 8 | (index < count ? static_cast<unsigned char>(bytes[at + index]) : 0u);
    }
    for (std::size_t index = 0; index < 4; ++index) {
      out += index <= count ? digits[group >> (18 - 6 * index) & 63] : '=';
    }
  }
  return out;
}

/// As text where it is text, else in base64 under another name.
void put_bytes(Json& out, const std::string& name, const std::string& bytes) {
  try {
    (void)Json(bytes).dump();
    out[name] = bytes;
  } catch (const Json::type_error&) {
    out[name + "_base64"] = base64(bytes);
  }
}

std::string read_all(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file && bytes.empty()) throw Failure{GF_ERR_NOT_FOUND, fmt::format("{} could not be read", path)};
  return bytes;
}

void write_all(const std::string& path, const std::string& bytes) {
  if (path == "-") {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
      throw Failure{GF_ERR_IO, "standard output could not be written"};
    }
    return;
  }
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  if (!file) throw Failure{GF_ERR_IO, fmt::format("{} could not be written", path)};
}

struct Named {
  const char* name;
  std::uint32_t value;
};
constexpr std::array states = {
    Named{"delayed", GF_QUEUE_DELAYED}, Named{"waiting", GF_QUEUE_WAITING},     Named{"running", GF_QUEUE_RUNNING},
    Named{"done", GF_QUEUE_DONE},       Named{"cancelled", GF_QUEUE_CANCELLED}, Named{"expired", GF_QUEUE_EXPIRED},
    Named{"dead", GF_QUEUE_DEAD}};
constexpr std::array priorities = {Named{"high", GF_PRIORITY_HIGH}, Named{"normal", GF_PRIORITY_NORMAL},
                                   Named{"low", GF_PRIORITY_LOW}};
constexpr std::array scopes = {Named{"time", GF_KEY_FOR_TIME}, Named{"started", GF_KEY_UNTIL_STARTED},
                               Named{"finished", GF_KEY_UNTIL_FINISHED}};
constexpr std::array events = {Named{"accepted", GF_QUEUE_EVENT_ACCEPTED},   Named{"started", GF_QUEUE_EVENT_STARTED},
                               Named{"retried", GF_QUEUE_EVENT_RETRIED},     Named{"released", GF_QUEUE_EVENT_RELEASED},
                               Named{"recovered", GF_QUEUE_EVENT_RECOVERED}, Named{"done", GF_QUEUE_EVENT_DONE},
                               Named{"cancelled", GF_QUEUE_EVENT_CANCELLED}, Named{"expired", GF_QUEUE_EVENT_EXPIRED},
                               Named{"dead", GF_QUEUE_EVENT_DEAD},           Named{"requeued", GF_QUEUE_EVENT_REQUEUED},
                               Named{"removed", GF_QUEUE_EVENT_REMOVED}};

template <std::size_t count>
std::uint32_t value_of(const std::array<Named, count>& names, const std::string& text, const char* option) {
  std::string all;
  for (const auto& one : names) {
    if (text == one.name) return one.value;
    all += (all.empty() ? "" : ", ") + std::string(one.name);
  }
  throw wrong(fmt::format("{} is \"{}\"; it must be one of {}", option, text, all));
}

template <std::size_t count>
std::string name_of(const std::array<Named, count>& names, std::uint32_t value) {
  for (const auto& one : names) {
    if (value == one.value) return one.name;
  }
  return "unknown";
}

/// A status as people write it: its name or its number.
std::uint32_t status_of(const std::string& text) {
  for (std::uint32_t index = 0;; ++index) {
    gf_status_description row = GF_STATUS_DESCRIPTION_INIT;
    if (gf_status_table(index, &row) != GF_OK) break;
    if (text == row.name || text == std::to_string(row.status)) return row.status;
  }
  throw wrong(fmt::format("--status is \"{}\"; it must be a name or number such as io_error or 501", text));
}

gf_job_id id_of(const std::string& text) {
  gf_job_id id{};
  check(gf_job_id_parse(text.c_str(), &id));
  return id;
}

std::string text_of_id(const gf_job_id& id) {
  return text_of([&](char* b, std::uint64_t* s) { return gf_job_id_text(&id, b, s); });
}

/// A lease as the command shows it: ID:TOKEN.
gf_lease_key key_of(const std::string& text) {
  const auto colon = text.rfind(':');
  std::uint64_t token = 0;
  if (colon != std::string::npos) {
    const auto* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, token);
    if (error == std::errc() && stop == end && stop != text.data() + colon + 1) {
      return {id_of(text.substr(0, colon)), token};
    }
  }
  throw wrong(fmt::format("the key is \"{}\"; it must be ID:TOKEN, as `gameforge queue reserve` gives it", text));
}

std::string text_of_key(const gf_lease_key& key) {
  return fmt::format("{}:{}", text_of_id(key.job), key.fencing_token);
}

/// Where the queue is; what every subcommand has.
struct Choice {
  std::string redis;
  std::string name = "default";
  std::string name_space = "gameforge";

  void add_to(CLI::App& app, Chosen& chosen) {
    app.add_option("--redis", redis,
                   "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or unix://SOCKET; REDIS_URL if not given")
        ->type_name("URL");
    app.add_option("--queue", name, "Which queue of the server")->capture_default_str()->type_name("NAME");
    app.add_option("--namespace", name_space, "What its keys begin with")->capture_default_str()->type_name("NAME");
    app.add_flag("--json", chosen.json, "JSON, one line each");
  }
};

class OpenQueue {
 public:
  explicit OpenQueue(const Choice& choice) {
    std::string url = choice.redis;
    if (url.empty()) {
      if (const char* given = std::getenv("REDIS_URL")) url = given;
    }
    if (url.empty()) throw wrong("no server was named; give --redis URL, or set REDIS_URL");
    gf_queue_options options = GF_QUEUE_OPTIONS_INIT;
    options.redis_url = url.c_str();
    options.name = choice.name.c_str();
    options.name_space = choice.name_space.c_str();
    check(gf_queue_open(&options, &queue_));
  }
  OpenQueue(const OpenQueue&) = delete;
  OpenQueue& operator=(const OpenQueue&) = delete;
  ~OpenQueue() { gf_queue_close(queue_); }
  gf_queue* get() const { return queue_; }

 private:
  gf_queue* queue_ = nullptr;
};

/// Jobs that were read or taken.
class Jobs {
 public:
  explicit Jobs(gf_queue_jobs* jobs = nullptr) : jobs_(jobs) {}
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;
  ~Jobs() { gf_queue_jobs_release(jobs_); }

  gf_queue_jobs** out() { return &jobs_; }
  std::uint32_t size() const {
    std::uint32_t count = 0;
    if (jobs_ != nullptr) check(gf_queue_jobs_count(jobs_, &count));
    return count;
  }
  gf_queue_job_info info(std::uint32_t index) const {
    gf_queue_job_info info = GF_QUEUE_JOB_INFO_INIT;
    check(gf_queue_jobs_info(jobs_, index, &info));
    return info;
  }
  std::string bytes(std::uint32_t index, gf_queue_bytes which) const {
    const std::uint8_t* bytes = nullptr;
    std::uint64_t size = 0;
    check(gf_queue_jobs_bytes(jobs_, index, which, &bytes, &size));
    return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)};
  }
  Json json(std::uint32_t index) const {
    return json_of([&](char* b, std::uint64_t* s) { return gf_queue_jobs_json(jobs_, index, b, s); });
  }
  std::string cursor() const {
    return text_of([&](char* b, std::uint64_t* s) { return gf_queue_jobs_cursor(jobs_, b, s); });
  }

 private:
  gf_queue_jobs* jobs_;
};

/// Which jobs a subcommand means.
struct Filter {
  std::string state;
  std::string user;
  std::string tag;
  std::string status;
  std::optional<double> older_than_s;

  void add_to(CLI::App& app, bool dead_letters) {
    if (!dead_letters) {
      app.add_option("--state", state, "delayed, waiting, running, done, cancelled, expired or dead")
          ->type_name("STATE");
    }
    app.add_option("--user", user, "Only this user's")->type_name("NAME");
    app.add_option("--tag", tag, "Only with this tag")->type_name("NAME");
    app.add_option("--status", status, "Only dead letters that failed with it, such as io_error or 501")
        ->type_name("STATUS");
    app.add_option("--older-than", older_than_s, "Only those in this state for longer")->type_name("SECONDS");
  }
  bool says_anything() const { return !user.empty() || !tag.empty() || !status.empty() || older_than_s.has_value(); }
  /// Points into this.
  gf_queue_filter read(std::uint32_t default_state) const {
    gf_queue_filter filter = GF_QUEUE_FILTER_INIT;
    filter.state = state.empty() ? default_state : value_of(states, state, "--state");
    if (!status.empty()) filter.status = status_of(status);
    if (!user.empty()) filter.user = user.c_str();
    if (!tag.empty()) filter.tag = tag.c_str();
    if (older_than_s) filter.older_than_us = microseconds_of(*older_than_s, "--older-than");
    return filter;
  }
};

void print_job_line(const Json& job) {
  const auto& end = job.at("end");
  auto line = fmt::format("{}  {:<9}  {:<6}  {}", job.value("id", ""), job.value("state", ""),
                          job.value("priority", ""), date(job.value("enqueued_us", std::int64_t{0})));
  if (!job.value("user", "").empty()) line += "  " + job.value("user", "");
  if (end.at("status").is_string()) {
    line += "  " + end.at("status").get<std::string>();
    if (end.at("message").is_string()) line += ": " + end.at("message").get<std::string>();
  }
  std::printf("%s\n", line.c_str());
}

void print_job(Json job) {
  for (const char* time :
       {"enqueued_us", "available_us", "deadline_us", "started_us", "finished_us", "lease_expires_us"}) {
    const auto name = std::string(time).substr(0, std::string_view(time).size() - 3);
    if (job.at(time).is_number()) job[name] = date(job.at(time).get<std::int64_t>());
    job.erase(time);
  }
  for (auto& attempt : job["history"]) {
    attempt["took"] =
        duration(attempt.value("ended_us", std::int64_t{0}) - attempt.value("started_us", std::int64_t{0}));
    attempt["started"] = date(attempt.value("started_us", std::int64_t{0}));
    attempt.erase("started_us");
    attempt.erase("ended_us");
  }
  std::printf("%s", readable(job, 0).c_str());
}

// ---- Putting in -----------------------------------------------------------------------------------------------------

struct Putting {
  Choice choice;
  std::optional<std::string> payload;
  std::string file;
  bool lines = false;
  std::string user;
  std::string priority = "normal";
  std::string content_type;
  std::vector<std::string> tags;
  std::string key;
  std::string key_scope = "time";
  std::optional<double> key_ttl_s;
  bool refuse_duplicate = false;
  std::optional<double> delay_s;
  std::optional<double> deadline_s;
  std::optional<std::uint32_t> attempts;
  std::optional<double> retry_base_s;
  std::optional<double> retry_cap_s;
};

void add_enqueue(CLI::App& queue, Chosen& chosen) {
  auto* app = queue.add_subcommand("enqueue", "Puts a job in, or with --lines many");
  auto asked = std::make_shared<Putting>();
  app->add_option("payload", asked->payload, "The job's bytes")->type_name("TEXT");
  app->add_option("--file", asked->file, "The job's bytes from a file; - is standard input")->type_name("FILE");
  app->add_flag("--lines", asked->lines, "Each line of the file is a job");
  app->add_option("--user", asked->user, "Whose it is: users take turns")->type_name("NAME");
  app->add_option("--priority", asked->priority, "high, normal or low")->capture_default_str()->type_name("LANE");
  app->add_option("--content-type", asked->content_type, "What the bytes are")->type_name("TYPE");
  app->add_option("--tag", asked->tags, "To find it by; may be given again")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app->add_option("--key", asked->key, "Idempotency key: a second enqueue with it joins the first")->type_name("TEXT");
  app->add_option("--key-scope", asked->key_scope, "How long the key is held: time, started or finished")
      ->capture_default_str()
      ->type_name("SCOPE");
  app->add_option("--key-ttl", asked->key_ttl_s, "For the scope time; a day")->type_name("SECONDS");
  app->add_flag("--refuse-duplicate", asked->refuse_duplicate, "A held key is an error");
  app->add_option("--delay", asked->delay_s, "Not before so long")->type_name("SECONDS");
  app->add_option("--deadline", asked->deadline_s, "If not begun by then it expires")->type_name("SECONDS");
  app->add_option("--attempts", asked->attempts, "Runs that may fail; 3")->type_name("N");
  app->add_option("--retry-base", asked->retry_base_s, "Upper bound of the first wait after a failure; 1")
      ->type_name("SECONDS");
  app->add_option("--retry-cap", asked->retry_cap_s, "Upper bound of any wait; 300")->type_name("SECONDS");
  asked->choice.add_to(*app, chosen);
  app->footer(
      "Prints the ids. Sent again after a lost answer, a job with a --key is put in once.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue enqueue '{\"prompt\": \"a red potion\"}' --user ann --redis redis://localhost\n"
      "  gameforge queue enqueue --lines --file jobs.jsonl --priority low");
  on_chosen(*app, chosen, [&chosen, asked] {
    std::vector<std::string> payloads;
    if (asked->payload && !asked->file.empty()) throw wrong("give the payload or --file, not both");
    if (!asked->payload && asked->file.empty()) throw wrong("give a payload, or --file");
    if (asked->payload) {
      if (asked->lines) throw wrong("--lines needs --file");
      payloads.push_back(*asked->payload);
    } else if (auto bytes = read_all(asked->file); !asked->lines) {
      payloads.push_back(std::move(bytes));
    } else {
      for (std::size_t at = 0; at < bytes.size();) {
        auto end = std::min(bytes.find('\n', at), bytes.size());
        if (end > at) payloads.push_back(bytes.substr(at, end - at));
        at = end + 1;
      }
    }
    gf_queue_job job = GF_QUEUE_JOB_INIT;
    job.priority = value_of(priorities, asked->priority, "--priority");
    job.user = asked->user.c_str();
    job.content_type = asked->content_type.c_str();
    std::vector<const char*> tags;
    for (const auto& tag : asked->tags) tags.push_back(tag.c_str());
    job.tags = tags.data();
    job.tag_count = static_cast<std::uint32_t>(tags.size());
    if (!asked->key.empty()) job.idempotency_key = asked->key.c_str();
    if (!asked->key.empty() && payloads.size() > 1) throw wrong("--key is of one job, and there are several");
    job.key_scope = value_of(scopes, asked->key_scope, "--key-scope");
    job.on_duplicate = asked->refuse_duplicate ? GF_DUPLICATE_REFUSE : GF_DUPLICATE_JOIN;
    constexpr double microsecond = 1e-6;
    if (asked->key_ttl_s) job.key_ttl_us = microseconds_of(*asked->key_ttl_s, "--key-ttl", microsecond);
    if (asked->delay_s) job.delay_us = microseconds_of(*asked->delay_s, "--delay");
    if (asked->deadline_s) job.deadline_us = microseconds_of(*asked->deadline_s, "--deadline", microsecond);
    if (asked->retry_base_s) job.retry_base_us = microseconds_of(*asked->retry_base_s, "--retry-base", microsecond);
    if (asked->retry_cap_s) job.retry_cap_us = microseconds_of(*asked->retry_cap_s, "--retry-cap", microsecond);
    job.max_attempts = given_or_default(asked->attempts, "attempts", 1000);

    const OpenQueue opened(asked->choice);
    std::optional<Failure> failed;
    std::uint64_t in = 0;
    for (std::size_t at = 0; at < payloads.size(); at += most_at_once) {
      const auto count = std::min<std::size_t>(most_at_once, payloads.size() - at);
      std::vector<gf_queue_job> jobs(count, job);
      const gf_queue_enqueued fresh = GF_QUEUE_ENQUEUED_INIT;
      std::vector<gf_queue_enqueued> answers(count, fresh);
      for (std::size_t index = 0; index < count; ++index) {
        jobs[index].payload = reinterpret_cast<const std::uint8_t*>(payloads[at + index].data());
        jobs[index].payload_bytes = payloads[at + index].size();
      }
      // One alone, so that a message does not number it.
      const auto status = count == 1 ? gf_queue_enqueue(opened.get(), jobs.data(), 0, answers.data())
                                     : gf_queue_enqueue_many(opened.get(), jobs.data(),
                                                             static_cast<std::uint32_t>(count), answers.data());
      if (status != GF_OK && !failed) failed = Failure{static_cast<std::uint32_t>(status), gf_last_error_message()};
      for (const auto& answer : answers) {
        if (answer.id.high == 0) continue;
        ++in;
        const auto id = text_of_id(answer.id);
        if (chosen.json) {
          print_json({{"id", id}, {"duplicate", answer.duplicate != 0}, {"state", name_of(states, answer.state)}});
        } else {
          std::printf("%s%s\n", id.c_str(), answer.duplicate != 0 ? "  (was there: its key is held)" : "");
        }
      }
      if (failed) break;
    }
    if (failed) {
      if (payloads.size() > 1) failed->message += fmt::format("; {} of {} are in", in, payloads.size());
      throw Failure(*failed);
    }
  });
}

// ---- Working --------------------------------------------------------------------------------------------------------

void add_reserve(CLI::App& queue, Chosen& chosen) {
  auto* app = queue.add_subcommand("reserve", "Takes jobs that may run now, under a lease");
  struct Asked {
    Choice choice;
    std::uint32_t count = 1;
    std::string worker;
    std::optional<double> lease_s;
    double wait_s = 0;
    std::string payload;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("--count", asked->count, "At most so many, to 1000")->capture_default_str()->type_name("N");
  app->add_option("--worker", asked->worker, "Who takes them, for the records; HOST:PID")->type_name("NAME");
  app->add_option("--lease", asked->lease_s, "How long they are yours; 30")->type_name("SECONDS");
  app->add_option("--wait", asked->wait_s, "How long to wait for one")->capture_default_str()->type_name("SECONDS");
  app->add_option("--payload", asked->payload, "Write the payload of one job to a file; - is standard output")
      ->type_name("FILE");
  asked->choice.add_to(*app, chosen);
  app->footer(
      "Prints each job's key, ID:TOKEN, by which extend, progress, complete, fail and release know that it is yours.\n"
      "Ends with 2 when there is none. A job whose lease runs out comes back.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue reserve --wait 10 --json\n"
      "  gameforge queue reserve --lease 300 --payload job.json");
  on_chosen(*app, chosen, [&chosen, asked] {
    if (!asked->payload.empty() && asked->count != 1) throw wrong("--payload is of one job; leave --count");
    auto worker = asked->worker;
    if (worker.empty()) {
      std::array<char, 256> host{};
      (void)::gethostname(host.data(), host.size() - 1);
      worker = fmt::format("{}:{}", host.data(), ::getpid());
    }
    const auto lease_us = asked->lease_s ? microseconds_of(*asked->lease_s, "--lease", 0.001) : 0;
    const auto wait_us = microseconds_of(asked->wait_s, "--wait");
    const OpenQueue opened(asked->choice);
    // In portions, so that Ctrl-C ends the wait without a job that nobody knows of.
    constexpr std::int64_t portion_us = 250'000;
    Jobs jobs;
    for (auto left_us = wait_us;;) {
      auto count = asked->count;
      const auto now_us = std::min(left_us, portion_us);
      const auto status = gf_queue_reserve(opened.get(), worker.c_str(), lease_us, now_us, &count, jobs.out());
      left_us -= now_us;
      if (status != GF_ERR_TIMED_OUT || left_us <= 0) {
        check(status);
        break;
      }
      if (interrupted()) throw Failure{GF_ERR_CANCELLED, "interrupted; no job was taken"};
    }
    for (std::uint32_t index = 0; index < jobs.size(); ++index) {
      const auto info = jobs.info(index);
      const auto payload = jobs.bytes(index, GF_QUEUE_BYTES_PAYLOAD);
      if (!asked->payload.empty()) write_all(asked->payload, payload);
      const auto key = text_of_key(info.key);
      if (chosen.json) {
        const auto job = jobs.json(index);
        Json line = {{"key", key}, {"attempt", info.attempt}, {"worker", worker}};
        for (const char* name :
             {"id", "priority", "user", "tags", "content_type", "fencing_token", "enqueued_us", "lease_expires_us"}) {
          line[name] = job.at(name);
        }
        if (asked->payload.empty()) put_bytes(line, "payload", payload);
        print_json(line);
      } else if (asked->payload == "-") {
        (void)std::fprintf(stderr, "%s\n", key.c_str());
      } else {
        std::printf("%s\n", key.c_str());
        if (asked->payload.empty()) std::printf("%s\n", payload.c_str());
      }
    }
  });
}

/// A subcommand of a holder: its key, and one call.
struct Holding {
  Choice choice;
  std::string key;
  std::optional<double> seconds;
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::string note;
  std::string reference;
  std::optional<std::string> result;
  std::string status = "internal";
  bool retry = false;
  bool dead = false;
};

std::shared_ptr<Holding> add_holding(CLI::App& app, Chosen& chosen) {
  auto asked = std::make_shared<Holding>();
  app.add_option("key", asked->key, "ID:TOKEN, as reserve gave it")->required()->type_name("KEY");
  asked->choice.add_to(app, chosen);
  return asked;
}

void print_outcome(const gf_queue_outcome& outcome, bool json) {
  const auto state = name_of(states, outcome.state);
  if (json) return print_json({{"state", state}, {"retry_in_us", outcome.retry_in_us}});
  std::printf("%s%s\n", state.c_str(),
              outcome.retry_in_us > 0 ? (", for " + duration(outcome.retry_in_us)).c_str() : "");
}

void add_holder_calls(CLI::App& queue, Chosen& chosen) {
  auto* extend = queue.add_subcommand("extend", "Prolongs a lease, and learns whether the job was cancelled");
  auto asked = add_holding(*extend, chosen);
  extend->add_option("--lease", asked->seconds, "From now; 30")->type_name("SECONDS");
  extend->footer(
      "Ends with 2 when the job is somebody else's by now, or was cancelled: then end the run.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue extend 0197...:1 --lease 60");
  on_chosen(*extend, chosen, [&chosen, asked] {
    const auto key = key_of(asked->key);
    const auto lease_us = asked->seconds ? microseconds_of(*asked->seconds, "--lease", 0.001) : 0;
    const OpenQueue opened(asked->choice);
    gf_heartbeat heartbeat = GF_HEARTBEAT_INIT;
    check(gf_queue_extend(opened.get(), &key, lease_us, &heartbeat));
    const bool cancelled = heartbeat.cancel_requested != 0;
    if (chosen.json) {
      print_json({{"expires_at_us", heartbeat.expires_at_us}, {"cancel_requested", cancelled}});
    } else {
      std::printf("%s\n", cancelled ? "cancelled: end the run" : ("until " + date(heartbeat.expires_at_us)).c_str());
    }
    if (cancelled) chosen.exit_code = group_of(GF_ERR_CANCELLED);
  });

  auto* progress = queue.add_subcommand("progress", "Says how far a run is");
  asked = add_holding(*progress, chosen);
  progress->add_option("done", asked->done, "So many")->required()->type_name("N");
  progress->add_option("total", asked->total, "Of so many")->required()->type_name("N");
  progress->add_option("--note", asked->note, "In words")->type_name("TEXT");
  progress->footer(
      "Examples:\n"
      "  gameforge queue progress 0197...:1 3 20 --note sampling");
  on_chosen(*progress, chosen, [asked] {
    const auto key = key_of(asked->key);
    const OpenQueue opened(asked->choice);
    check(gf_queue_report_progress(opened.get(), &key, asked->done, asked->total, asked->note.c_str()));
  });

  auto* complete = queue.add_subcommand("complete", "Ends a run well");
  asked = add_holding(*complete, chosen);
  complete->add_option("--reference", asked->reference, "Where the result is")->type_name("TEXT");
  complete->add_option("--result", asked->result, "A small result itself")->type_name("TEXT");
  complete->footer(
      "Examples:\n"
      "  gameforge queue complete 0197...:1 --reference assets/potion.png");
  on_chosen(*complete, chosen, [asked] {
    const auto key = key_of(asked->key);
    const OpenQueue opened(asked->choice);
    gf_queue_result result = GF_QUEUE_RESULT_INIT;
    result.reference = asked->reference.c_str();
    if (asked->result) {
      result.bytes = reinterpret_cast<const std::uint8_t*>(asked->result->data());
      result.byte_count = asked->result->size();
    }
    check(gf_queue_complete(opened.get(), &key, &result));
  });

  auto* fail = queue.add_subcommand("fail", "Ends a run that failed: the job waits again, or becomes a dead letter");
  asked = add_holding(*fail, chosen);
  fail->add_option("--message", asked->note, "Why")->type_name("TEXT");
  fail->add_option("--status", asked->status, "With what, such as io_error or 501; it says whether a retry may help")
      ->capture_default_str()
      ->type_name("STATUS");
  auto* retry = fail->add_flag("--retry", asked->retry, "Whatever the status, while attempts are left");
  fail->add_flag("--dead", asked->dead, "Straight to the dead letters")->excludes(retry);
  fail->footer(
      "Examples:\n"
      "  gameforge queue fail 0197...:1 --status network_error --message \"the store did not answer\"");
  on_chosen(*fail, chosen, [&chosen, asked] {
    const auto key = key_of(asked->key);
    gf_queue_failure failure = GF_QUEUE_FAILURE_INIT;
    failure.status = status_of(asked->status);
    failure.action = asked->retry ? GF_FAILURE_RETRY : asked->dead ? GF_FAILURE_DEAD : GF_FAILURE_BY_RULES;
    failure.message = asked->note.c_str();
    const OpenQueue opened(asked->choice);
    gf_queue_outcome outcome = GF_QUEUE_OUTCOME_INIT;
    check(gf_queue_fail(opened.get(), &key, &failure, &outcome));
    print_outcome(outcome, chosen.json);
  });

  auto* release = queue.add_subcommand("release", "Gives a job back unworked");
  asked = add_holding(*release, chosen);
  release->add_option("--delay", asked->seconds, "Not before so long")->type_name("SECONDS");
  release->footer(
      "It costs no attempt, but counts as a crash does.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue release 0197...:1");
  on_chosen(*release, chosen, [&chosen, asked] {
    const auto key = key_of(asked->key);
    const auto delay_us = asked->seconds ? microseconds_of(*asked->seconds, "--delay") : 0;
    const OpenQueue opened(asked->choice);
    gf_queue_outcome outcome = GF_QUEUE_OUTCOME_INIT;
    check(gf_queue_release_lease(opened.get(), &key, delay_us, &outcome));
    print_outcome(outcome, chosen.json);
  });
}

// ---- Looking --------------------------------------------------------------------------------------------------------

void add_show(CLI::App& queue, Chosen& chosen) {
  auto* app = queue.add_subcommand("show", "Shows one job, with its whole history");
  struct Asked {
    Choice choice;
    std::string id;
    std::string payload;
    std::string result;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("id", asked->id, "Its 32 digits")->required()->type_name("ID");
  app->add_option("--payload", asked->payload, "Write its payload to a file; - is standard output, alone")
      ->type_name("FILE");
  app->add_option("--result", asked->result, "The same of its result")->type_name("FILE");
  asked->choice.add_to(*app, chosen);
  app->footer(
      "Examples:\n"
      "  gameforge queue show 01971c2ab3c47d8e9f00112233445566\n"
      "  gameforge queue show 01971c2ab3c47d8e9f00112233445566 --payload -");
  on_chosen(*app, chosen, [&chosen, asked] {
    const auto id = id_of(asked->id);
    const OpenQueue opened(asked->choice);
    Jobs jobs;
    check(gf_queue_get(opened.get(), &id, jobs.out()));
    if (!asked->payload.empty()) write_all(asked->payload, jobs.bytes(0, GF_QUEUE_BYTES_PAYLOAD));
    if (!asked->result.empty()) write_all(asked->result, jobs.bytes(0, GF_QUEUE_BYTES_RESULT));
    if (asked->payload == "-" || asked->result == "-") return;
    auto job = jobs.json(0);
    put_bytes(job, "payload", jobs.bytes(0, GF_QUEUE_BYTES_PAYLOAD));
    if (jobs.info(0).result_bytes != 0) put_bytes(job["result"], "text", jobs.bytes(0, GF_QUEUE_BYTES_RESULT));
    if (chosen.json) return print_json(job);
    print_job(std::move(job));
  });
}

void add_list(CLI::App& queue, Chosen& chosen, bool dead_letters) {
  auto* app = queue.add_subcommand("list", dead_letters ? "Lists dead letters" : "Lists jobs of one state");
  struct Asked {
    Choice choice;
    Filter filter;
    std::uint64_t limit = 100;
  };
  auto asked = std::make_shared<Asked>();
  asked->filter.add_to(*app, dead_letters);
  app->add_option("--limit", asked->limit, "At most so many; 0: all")->capture_default_str()->type_name("N");
  asked->choice.add_to(*app, chosen);
  app->footer(dead_letters ? "Examples:\n"
                             "  gameforge queue dlq list --status io_error --older-than 3600"
                           : "Without --state, those that wait.\n"
                             "\n"
                             "Examples:\n"
                             "  gameforge queue list --state running\n"
                             "  gameforge queue list --user ann --json --limit 0");
  on_chosen(*app, chosen, [&chosen, asked, dead_letters] {
    const auto filter = asked->filter.read(dead_letters ? GF_QUEUE_DEAD : GF_QUEUE_WAITING);
    const OpenQueue opened(asked->choice);
    std::string cursor;
    std::uint64_t shown = 0;
    const auto limit = asked->limit == 0 ? std::numeric_limits<std::uint64_t>::max() : asked->limit;
    do {
      Jobs page;
      const auto room = static_cast<std::uint32_t>(std::min<std::uint64_t>(limit - shown, most_at_once));
      check(gf_queue_list(opened.get(), &filter, cursor.c_str(), room, page.out()));
      for (std::uint32_t index = 0; index < page.size(); ++index, ++shown) {
        const auto job = page.json(index);
        if (chosen.json) {
          print_json(job);
        } else {
          print_job_line(job);
        }
      }
      cursor = page.cursor();
    } while (!cursor.empty() && shown < limit && !interrupted());
    if (!chosen.json && !cursor.empty()) std::printf("... and more: --limit shows them\n");
  });
}

/// The figures of two moments: depth now, rates between.
void print_statistics(const gf_queue_statistics& now, const gf_queue_statistics* before, double seconds) {
  const auto rate = [&](std::uint64_t value, std::uint64_t earlier) {
    return before == nullptr ? std::string()
                             : fmt::format("  {:>9.1f}/s", static_cast<double>(value - earlier) / seconds);
  };
  std::printf("waiting     high %llu, normal %llu, low %llu%s\n", static_cast<unsigned long long>(now.waiting[0]),
              static_cast<unsigned long long>(now.waiting[1]), static_cast<unsigned long long>(now.waiting[2]),
              now.paused != 0 ? "  (paused)" : "");
  const auto line = [](const char* name, std::uint64_t value, const std::string& behind = {}) {
    std::printf("%-11s %llu%s\n", name, static_cast<unsigned long long>(value), behind.c_str());
  };
  line("delayed", now.delayed);
  line("running", now.running);
  line("dead", now.dead);
  std::printf("oldest      %s\n", duration(now.oldest_waiting_us).c_str());
  const gf_queue_statistics none = GF_QUEUE_STATISTICS_INIT;
  const auto& then = before != nullptr ? *before : none;
  line("accepted", now.accepted, rate(now.accepted, then.accepted));
  line("done", now.done, rate(now.done, then.done));
  line("failed", now.failed, rate(now.failed, then.failed));
  line("retried", now.retried, rate(now.retried, then.retried));
  line("died", now.died, rate(now.died, then.died));
  line("recovered", now.recovered, rate(now.recovered, then.recovered));
  line("rejected", now.rejected, rate(now.rejected, then.rejected));
  std::printf("wait        p50 %s, p90 %s, p99 %s\n", duration(now.wait_p50_us).c_str(),
              duration(now.wait_p90_us).c_str(), duration(now.wait_p99_us).c_str());
  std::printf("run         p50 %s, p90 %s, p99 %s\n", duration(now.run_p50_us).c_str(),
              duration(now.run_p90_us).c_str(), duration(now.run_p99_us).c_str());
}

void sleep_until_interrupted(double seconds) {
  const auto until = seconds_now() + seconds;
  while (!interrupted() && seconds_now() < until) {
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.05, until - seconds_now())));
  }
}

void add_stats(CLI::App& queue, Chosen& chosen) {
  auto* app = queue.add_subcommand("stats", "Shows depth, totals, and how long jobs wait and run");
  struct Asked {
    Choice choice;
    std::string watch;
    bool prometheus = false;
    std::string user;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("--watch", asked->watch, "Again and again, with rates, until Ctrl-C; every 2 seconds")
      ->expected(0, 1)
      ->default_str("2")
      ->type_name("[SECONDS]");
  app->add_flag("--prometheus", asked->prometheus, "As Prometheus reads it");
  app->add_option("--user", asked->user, "Only how many of this user's wait and run")->type_name("NAME");
  asked->choice.add_to(*app, chosen);
  app->footer(
      "At all times accepted = waiting + delayed + running + done + cancelled + expired + dead + removed.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue stats --watch\n"
      "  gameforge queue stats --json | jq .totals");
  on_chosen(*app, chosen, [&chosen, asked] {
    double every = 0;
    if (!asked->watch.empty()) {
      const auto* const end = asked->watch.data() + asked->watch.size();
      const auto [stop, error] = std::from_chars(asked->watch.data(), end, every);
      if (error != std::errc() || stop != end)
        throw wrong(fmt::format("--watch is \"{}\"; it must be seconds", asked->watch));
      (void)microseconds_of(every, "--watch", 0.1);
    }
    const OpenQueue opened(asked->choice);
    if (!asked->user.empty()) {
      std::uint64_t waiting = 0;
      std::uint64_t running = 0;
      check(gf_queue_user_statistics(opened.get(), asked->user.c_str(), &waiting, &running));
      if (chosen.json) return print_json({{"user", asked->user}, {"waiting", waiting}, {"running", running}});
      std::printf("%s\n", fmt::format("waiting {}, running {}", waiting, running).c_str());
      return;
    }
    std::optional<gf_queue_statistics> before;
    double before_at = 0;
    do {
      if (asked->prometheus) {
        std::printf("%s", text_of([&](char* b, std::uint64_t* s) {
                            return gf_queue_prometheus_text(opened.get(), b, s);
                          }).c_str());
      } else if (chosen.json) {
        print_json(json_of([&](char* b, std::uint64_t* s) { return gf_queue_statistics_json(opened.get(), b, s); }));
      } else {
        gf_queue_statistics now = GF_QUEUE_STATISTICS_INIT;
        check(gf_queue_read_statistics(opened.get(), &now));
        const auto at = seconds_now();
        // At a terminal the figures stay in their place.
        if (before && ::isatty(STDOUT_FILENO) == 1) std::printf("\033[H\033[J");
        print_statistics(now, before ? &*before : nullptr, at - before_at);
        if (every > 0) std::printf("\n");
        before = now;
        before_at = at;
      }
      (void)std::fflush(stdout);
      if (every > 0) sleep_until_interrupted(every);
    } while (every > 0 && !interrupted());
  });
}

void add_events(CLI::App& queue, Chosen& chosen) {
  auto* app = queue.add_subcommand("events", "Shows what happened to jobs");
  struct Asked {
    Choice choice;
    std::uint64_t after = 0;
    bool follow = false;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("--after", asked->after, "Those after this number")->capture_default_str()->type_name("N");
  app->add_flag("--follow", asked->follow, "And what comes, until Ctrl-C");
  asked->choice.add_to(*app, chosen);
  app->footer(
      "Examples:\n"
      "  gameforge queue events --follow --json");
  on_chosen(*app, chosen, [&chosen, asked] {
    const OpenQueue opened(asked->choice);
    auto after = asked->after;
    while (!interrupted()) {
      const gf_queue_event fresh = GF_QUEUE_EVENT_INIT;
      std::vector<gf_queue_event> some(most_at_once, fresh);
      auto count = most_at_once;
      std::uint64_t missed = 0;
      const auto status =
          gf_queue_read_events(opened.get(), &after, asked->follow ? 250'000 : 0, &count, some.data(), &missed);
      if (status != GF_OK && status != GF_ERR_WOULD_BLOCK && status != GF_ERR_TIMED_OUT) check(status);
      if (missed > 0 && after != asked->after) {
        (void)std::fprintf(stderr, "gameforge: %llu events are no longer kept\n",
                           static_cast<unsigned long long>(missed));
      }
      for (std::uint32_t index = 0; index < count; ++index) {
        const auto& event = some[index];
        const auto type = name_of(events, event.type);
        const auto id = text_of_id(event.job);
        const std::string why = event.status == GF_OK ? "" : gf_status_name(event.status);
        if (chosen.json) {
          print_json({{"sequence", event.sequence},
                      {"type", type},
                      {"id", id},
                      {"fencing_token", event.fencing_token},
                      {"unix_us", event.unix_us},
                      {"status", why.empty() ? Json() : Json(why)}});
        } else {
          std::printf("%s\n", fmt::format("{:>8}  {}  {:<9}  {}:{}{}{}", event.sequence, date(event.unix_us), type, id,
                                          event.fencing_token, why.empty() ? "" : "  ", why)
                                  .c_str());
        }
      }
      (void)std::fflush(stdout);
      if (!asked->follow && count < most_at_once) return;
    }
  });
}

// ---- Operating ------------------------------------------------------------------------------------------------------

void print_count(const char* name, std::uint64_t count, bool json) {
  if (json) return print_json({{name, count}});
  std::printf("%s\n", fmt::format("{} {}", count, name).c_str());
}

void add_cancel(CLI::App& queue, Chosen& chosen) {
  auto* app =
      queue.add_subcommand("cancel", "Ends jobs: at once where they wait, at the next heartbeat where they run");
  struct Asked {
    Choice choice;
    std::vector<std::string> ids;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("id", asked->ids, "Which")->required()->type_name("ID...");
  asked->choice.add_to(*app, chosen);
  app->footer(
      "Examples:\n"
      "  gameforge queue cancel 01971c2ab3c47d8e9f00112233445566");
  on_chosen(*app, chosen, [&chosen, asked] {
    std::vector<gf_job_id> ids;
    for (const auto& id : asked->ids) ids.push_back(id_of(id));
    const OpenQueue opened(asked->choice);
    for (std::size_t index = 0; index < ids.size(); ++index) {
      std::uint32_t outcome = 0;
      check(gf_queue_cancel(opened.get(), &ids[index], &outcome));
      const char* const did = outcome == GF_CANCEL_ENDED ? "cancelled" : "requested";
      if (chosen.json) {
        print_json({{"id", asked->ids[index]}, {"outcome", did}});
      } else {
        std::printf("%s\n", did);
      }
    }
  });
}

void add_purge(CLI::App& queue, Chosen& chosen, bool dead_letters) {
  auto* app = queue.add_subcommand("purge", dead_letters ? "Removes dead letters for good"
                                                         : "Removes jobs: cancels what waits, forgets what is over");
  struct Asked {
    Choice choice;
    Filter filter;
    bool all = false;
  };
  auto asked = std::make_shared<Asked>();
  asked->filter.add_to(*app, dead_letters);
  app->add_flag("--all", asked->all, dead_letters ? "Every one" : "Every one of the state");
  asked->choice.add_to(*app, chosen);
  app->footer(fmt::format(
      "It needs a filter, or --all.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue {} --older-than 604800",
      dead_letters ? "dlq purge" : "purge --state waiting --user ann\n  gameforge queue purge --state done"));
  on_chosen(*app, chosen, [&chosen, asked, dead_letters] {
    if (!dead_letters && asked->filter.state.empty()) throw wrong("--state must say which jobs are meant");
    if (!asked->filter.says_anything() && !asked->all) throw wrong("give a filter, or --all");
    const auto filter = asked->filter.read(GF_QUEUE_DEAD);
    const OpenQueue opened(asked->choice);
    std::uint64_t changed = 0;
    check(gf_queue_purge(opened.get(), &filter, bulk_timeout_us, &changed));
    print_count("removed", changed, chosen.json);
  });
}

void add_requeue(CLI::App& letters, Chosen& chosen) {
  auto* app = letters.add_subcommand("requeue", "Puts dead letters back; their attempts begin anew");
  struct Asked {
    Choice choice;
    Filter filter;
    bool all = false;
    std::vector<std::string> ids;
  };
  auto asked = std::make_shared<Asked>();
  app->add_option("id", asked->ids, "Which; or a filter")->type_name("ID...");
  asked->filter.add_to(*app, true);
  app->add_flag("--all", asked->all, "Every one");
  asked->choice.add_to(*app, chosen);
  app->footer(
      "Examples:\n"
      "  gameforge queue dlq requeue 01971c2ab3c47d8e9f00112233445566\n"
      "  gameforge queue dlq requeue --status io_error --user ann");
  on_chosen(*app, chosen, [&chosen, asked] {
    const bool filtered = asked->filter.says_anything() || asked->all;
    if (asked->ids.empty() == !filtered) throw wrong("give ids, or a filter, or --all");
    std::vector<gf_job_id> ids;
    for (const auto& id : asked->ids) ids.push_back(id_of(id));
    const auto filter = asked->filter.read(GF_QUEUE_DEAD);
    const OpenQueue opened(asked->choice);
    std::uint64_t changed = ids.size();
    for (const auto& id : ids) check(gf_queue_requeue(opened.get(), &id));
    if (filtered) check(gf_queue_requeue_many(opened.get(), &filter, bulk_timeout_us, &changed));
    print_count("requeued", changed, chosen.json);
  });
}

void add_flow(CLI::App& queue, Chosen& chosen) {
  for (const bool pause : {true, false}) {
    auto* app = queue.add_subcommand(pause ? "pause" : "resume",
                                     pause ? "Jobs come in, and none is handed out" : "Jobs are handed out again");
    auto choice = std::make_shared<Choice>();
    choice->add_to(*app, chosen);
    app->footer(fmt::format("Examples:\n  gameforge queue {} --queue renders", pause ? "pause" : "resume"));
    on_chosen(*app, chosen, [choice, pause] {
      const OpenQueue opened(*choice);
      check(gf_queue_pause(opened.get(), pause ? 1 : 0));
    });
  }

  auto* drain = queue.add_subcommand("drain", "Pauses, and waits until no job runs any more");
  struct Asked {
    Choice choice;
    double wait_s = 60;
  };
  auto asked = std::make_shared<Asked>();
  drain->add_option("--wait", asked->wait_s, "At most so long")->capture_default_str()->type_name("SECONDS");
  asked->choice.add_to(*drain, chosen);
  drain->footer(
      "Ends with 2 when some still run; the queue stays paused.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue drain --wait 600");
  on_chosen(*drain, chosen, [asked] {
    const auto until = seconds_now() + asked->wait_s;
    (void)microseconds_of(asked->wait_s, "--wait");
    const OpenQueue opened(asked->choice);
    for (;;) {
      const auto left = std::clamp(until - seconds_now(), 0.0, 0.25);
      const auto status = gf_queue_drain(opened.get(), static_cast<std::int64_t>(left * 1e6));
      if (status != GF_ERR_TIMED_OUT) return check(status);
      if (interrupted()) throw Failure{GF_ERR_CANCELLED, "interrupted; the queue is paused"};
      if (seconds_now() >= until) throw Failure{GF_ERR_TIMED_OUT, "jobs still run; the queue is paused"};
    }
  });

  auto* sweep = queue.add_subcommand("sweep", "Does what is due: leases that ran out, delays, deadlines, retention");
  auto choice = std::make_shared<Choice>();
  choice->add_to(*sweep, chosen);
  sweep->footer(
      "Every worker does it too; this is for a queue that nobody takes from.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue sweep");
  on_chosen(*sweep, chosen, [choice] {
    const OpenQueue opened(*choice);
    for (std::uint32_t more = 1; more != 0 && !interrupted();) check(gf_queue_sweep(opened.get(), &more));
  });
}

}  // namespace

void add_queue(CLI::App& app, Chosen& chosen) {
  auto* queue = app.add_subcommand("queue", "Fills, works on, watches and repairs a queue in Redis");
  queue->require_subcommand(1);
  queue->footer(
      "The server is --redis URL, or REDIS_URL.\n"
      "\n"
      "Examples:\n"
      "  gameforge queue stats --watch --redis redis://localhost\n"
      "  gameforge queue enqueue '{\"prompt\": \"a red potion\"}' --user ann\n"
      "  gameforge queue dlq list");
  add_enqueue(*queue, chosen);
  add_reserve(*queue, chosen);
  add_holder_calls(*queue, chosen);
  add_show(*queue, chosen);
  add_list(*queue, chosen, false);
  add_stats(*queue, chosen);
  add_events(*queue, chosen);
  add_cancel(*queue, chosen);
  add_purge(*queue, chosen, false);
  add_flow(*queue, chosen);
  auto* letters = queue->add_subcommand("dlq", "The dead letters: jobs that failed for good, with all that happened");
  letters->require_subcommand(1);
  letters->footer(
      "Examples:\n"
      "  gameforge queue dlq list --redis redis://localhost\n"
      "  gameforge queue dlq requeue --all");
  add_list(*letters, chosen, true);
  add_show(*letters, chosen);
  add_requeue(*letters, chosen);
  add_purge(*letters, chosen, true);
}

}  // namespace command
