#include "queue/journal.hpp"

#include "base/json.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <new>
#include <utility>

namespace gf::queue {
namespace {

constexpr std::int64_t application_id = 0x47464A51;  // "GFJQ"
constexpr std::size_t page_jobs = 64;                // Read at a time: payloads may be long.
constexpr std::uint32_t vacuum_every = 64;           // Writes that remove something.
constexpr std::int64_t vacuum_pages = 256;           // Given back at a time, so that no call waits long.

// Numbers are sizes and counts of the interface; times are microseconds since the Unix epoch by the queue's clock.
constexpr std::string_view schema_text = R"(
CREATE TABLE head (
  one INTEGER PRIMARY KEY CHECK (one = 1), saved_us INTEGER NOT NULL, last_event INTEGER NOT NULL,
  accepted INTEGER NOT NULL, duplicates INTEGER NOT NULL, rejected INTEGER NOT NULL, taken INTEGER NOT NULL,
  renewed INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, retried INTEGER NOT NULL,
  released INTEGER NOT NULL, recovered INTEGER NOT NULL, fenced_off INTEGER NOT NULL, cancelled INTEGER NOT NULL,
  expired INTEGER NOT NULL, died INTEGER NOT NULL, dropped INTEGER NOT NULL, requeued INTEGER NOT NULL,
  removed INTEGER NOT NULL);
CREATE TABLE job (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL, priority INTEGER NOT NULL, user TEXT NOT NULL,
  enqueued_us INTEGER NOT NULL, deadline_us INTEGER NOT NULL, max_attempts INTEGER NOT NULL, base_us INTEGER NOT NULL,
  cap_us INTEGER NOT NULL, has_key INTEGER NOT NULL,
  state INTEGER NOT NULL, available_us INTEGER NOT NULL, started_us INTEGER NOT NULL, ended_us INTEGER NOT NULL,
  sequence INTEGER NOT NULL, end_order INTEGER NOT NULL, fencing_token INTEGER NOT NULL, failures INTEGER NOT NULL,
  crashes INTEGER NOT NULL, cancel_requested INTEGER NOT NULL, worker TEXT NOT NULL);
CREATE TABLE body (number INTEGER PRIMARY KEY, payload BLOB NOT NULL, texts BLOB NOT NULL);
CREATE TABLE story (
  number INTEGER PRIMARY KEY, history TEXT NOT NULL, end_status INTEGER NOT NULL, end_message TEXT NOT NULL,
  reference BLOB NOT NULL, result BLOB NOT NULL, progress_done INTEGER NOT NULL, progress_total INTEGER NOT NULL,
  progress_note TEXT NOT NULL);
CREATE TABLE key (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, id TEXT NOT NULL, scope INTEGER NOT NULL, expires_us INTEGER NOT NULL);
)";

constexpr std::array<std::uint64_t QueueTotals::*, 17> totals_in_order = {
    &QueueTotals::accepted, &QueueTotals::duplicates, &QueueTotals::rejected,   &QueueTotals::taken,
    &QueueTotals::renewed,  &QueueTotals::done,       &QueueTotals::failed,     &QueueTotals::retried,
    &QueueTotals::released, &QueueTotals::recovered,  &QueueTotals::fenced_off, &QueueTotals::cancelled,
    &QueueTotals::expired,  &QueueTotals::died,       &QueueTotals::dropped,    &QueueTotals::requeued,
    &QueueTotals::removed};
static_assert(sizeof(QueueTotals) == totals_in_order.size() * sizeof(std::uint64_t), "every total is kept");

std::int64_t stored(std::uint64_t value) { return static_cast<std::int64_t>(value); }

/// One by one and in place: libstdc++ 12 copies a variant of a string into undefined behaviour where the copy throws,
/// as it takes such a variant for one that is never without a value.
template <class... Values>
void bind(std::vector<sql::Value>& into, Values&&... values) {
  into.clear();
  into.reserve(sizeof...(values));
  (into.emplace_back(std::forward<Values>(values)), ...);
}

std::string history_text(std::span<const Attempt> history) {
  JsonText out;
  out.begin_array();
  for (const auto& attempt : history) {
    out.begin_object()
        .member("token", attempt.fencing_token)
        .member("started_us", attempt.started_us)
        .member("ended_us", attempt.ended_us)
        .member("end", static_cast<std::uint32_t>(attempt.end))
        .member("status", static_cast<std::int64_t>(attempt.status))
        .member("worker", attempt.worker)
        .member("message", attempt.message)
        .end_object();
  }
  out.end_array();
  return std::move(out).str();
}

/// nullopt where it is no history of ours.
std::optional<std::vector<Attempt>> parse_history(std::string_view text, std::string_view path) {
  std::vector<Attempt> history;
  if (text.empty()) return history;
  const auto document = parse_json(text, path);
  if (!document || !(*document.value()).is_array() || document.value()->size() > max_history) return std::nullopt;
  for (const auto& one : *document.value()) {
    if (!one.is_object()) return std::nullopt;
    const auto number = [&](const char* name) -> std::optional<std::int64_t> {
      const auto found = one.find(name);
      if (found == one.end() || !found->is_number_integer()) return std::nullopt;
      return found->get<std::int64_t>();
    };
    const auto words = [&](const char* name) -> std::optional<std::string> {
      const auto found = one.find(name);
      if (found == one.end() || !found->is_string()) return std::nullopt;
      return found->get<std::string>();
    };
    const auto token = number("token");
    const auto started = number("started_us");
    const auto ended = number("ended_us");
    const auto end = number("end");
    const auto status = number("status");
    auto worker = words("worker");
    auto message = words("message");
    if (!token || !started || !ended || !end || !status || !worker || !message) return std::nullopt;
    if (*end < 0 || *end > static_cast<std::int64_t>(AttemptEnd::released)) return std::nullopt;
    history.push_back({static_cast<std::uint64_t>(*token), *started, *ended, static_cast<AttemptEnd>(*end),
                       static_cast<Status>(*status), std::move(*worker), std::move(*message)});
  }
  return history;
}

}  // namespace

void JournalBatch::clear() {
  entries.clear();
  gone.clear();
  gone_keys.clear();
  new_jobs = 0;
}

Error Journal::explain(Error error, std::string_view what) const {
  auto status = error.status;
  // SQLite's word for statements that do not fit the schema: the file is not what its version says.
  if (status == Status::database_error || status == Status::syntax_error) status = Status::corrupt_file;
  if (status == Status::locked) {
    const auto owner = sql::sqlite_lock_owner(path_);
    auto message = owner == 0 ? fmt::format("the journal {} is held by another process", shown(path_))
                              : fmt::format("the journal {} is held by process {}", shown(path_), owner);
    return wrap(std::move(error), status, std::move(message)).with("process", fmt::format("{}", owner));
  }
  auto message = fmt::format("the journal {} {}: {}", shown(path_), what, error.message);
  return wrap(std::move(error), status, std::move(message));
}

Error Journal::corrupt(std::string_view what) const {
  return {Status::corrupt_file, fmt::format("the journal {} is damaged: {}", shown(path_), what), {}};
}

Result<std::unique_ptr<Journal>> Journal::open(const JournalOptions& options) {
  if (options.path.empty() || options.path.find('\0') != std::string::npos) {
    return Error{Status::invalid_argument, "journal.path is empty or has a NUL byte in it; it must name a file", {}};
  }
  if (options.durability != Durability::disk && options.durability != Durability::system) {
    return Error{
        Status::invalid_argument,
        fmt::format("journal.durability is {}; it must be 0 or 1", static_cast<std::uint32_t>(options.durability)),
        {}};
  }
  sql::OpenOptions open;
  open.exclusive = true;
  open.checkpoint_on_close = false;  // Until accept(): what is refused stays as it is.
  // SQLite has a meaning of its own for ":memory:", and none of ours.
  const auto path = options.path.starts_with(':') ? "./" + options.path : options.path;
  GF_TRY(auto connection, sql::open_sqlite(path, open));
  if (options.test_connection) connection = options.test_connection(std::move(connection));
  std::unique_ptr<Journal> journal(new Journal(path, std::move(connection), options.durability));
  GF_TRYV(journal->check_file());
  return journal;
}

Journal::~Journal() = default;

Result<void> Journal::check_file() {
  const auto read = [this](std::string_view statement) -> Result<std::int64_t> {
    auto rows = connection_->query(statement);
    if (!rows) return explain(std::move(rows).error(), "cannot be read");
    return rows.value().integer(0, 0);
  };
  GF_TRY(const auto pages, read("PRAGMA page_count"));
  GF_TRY(const auto application, read("PRAGMA application_id"));
  GF_TRY(const auto tables, read("SELECT count(*) FROM sqlite_schema"));
  // An empty database is where the making was cut off.
  if (pages == 0 || (application == 0 && tables == 0)) return make();
  if (application != application_id) {
    return Error{Status::unsupported_format,
                 fmt::format("{} is a database, but no queue's journal: its application_id is {}, not {}", shown(path_),
                             application, application_id),
                 {}};
  }
  GF_TRY(const auto version, read("PRAGMA user_version"));
  if (version > schema) {
    return Error{Status::schema_too_new,
                 fmt::format("the journal {} has schema {}; this library knows {}", shown(path_), version, schema),
                 {}};
  }
  if (version < 1) return corrupt(fmt::format("its user_version is {}", version));
  auto checked = connection_->query("PRAGMA quick_check(1)");
  if (!checked) return explain(std::move(checked).error(), "cannot be read");
  if (checked.value().text(0, 0) != "ok") return corrupt(checked.value().text(0, 0));
  return success();
}

Result<void> Journal::make() {
  const auto run = [this](std::string_view statements) -> Result<void> {
    auto done = connection_->script(statements);
    if (!done) return explain(std::move(done).error(), "cannot be made");
    return success();
  };
  GF_TRYV(run("PRAGMA auto_vacuum = INCREMENTAL"));
  GF_TRYV(run("BEGIN EXCLUSIVE"));
  // Whole or not at all: what is cut off here leaves an empty file, which is made anew.
  auto made =
      run(fmt::format("{} INSERT INTO head VALUES (1, 0, 0, 0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0);"
                      "PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT",
                      schema_text, application_id, schema));
  if (!made && connection_->in_transaction()) (void)connection_->execute("ROLLBACK");
  return made;
}

Result<void> Journal::accept() {
  const auto run = [this](std::string_view statement) -> Result<sql::Rows> {
    auto rows = connection_->query(statement);
    if (!rows) return explain(std::move(rows).error(), "cannot be written");
    return rows;
  };
  GF_TRY(const auto mode, run("PRAGMA journal_mode = WAL"));
  if (mode.text(0, 0) != "wal") {
    return Error{
        Status::unsupported,
        fmt::format("the journal {} cannot have a write-ahead log: its mode is {}", shown(path_), mode.text(0, 0)),
        {}};
  }
  GF_TRYV(run(durability_ == Durability::disk ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL"));
  // A long transaction leaves no long file behind.
  GF_TRYV(run("PRAGMA journal_size_limit = 16777216"));
  sql::set_sqlite_checkpoint_on_close(*connection_, true);
  return success();
}

Result<JournalHead> Journal::head() {
  auto rows = connection_->query(
      "SELECT accepted, duplicates, rejected, taken, renewed, done, failed, retried, released, recovered, fenced_off, "
      "cancelled, expired, died, dropped, requeued, removed, saved_us, last_event FROM head");
  if (!rows) return explain(std::move(rows).error(), "cannot be read");
  if (rows.value().rows.size() != 1) return corrupt("it has no head");
  JournalHead head;
  for (std::size_t at = 0; at < totals_in_order.size(); ++at) {
    head.totals.*totals_in_order[at] = static_cast<std::uint64_t>(rows.value().integer(0, at));
  }
  head.saved_us = rows.value().integer(0, totals_in_order.size());
  head.last_event = static_cast<std::uint64_t>(rows.value().integer(0, totals_in_order.size() + 1));
  if (head.saved_us < 0) return corrupt("it was written before 1970");
  return head;
}

Result<void> Journal::jobs(const std::function<Result<void>(JournalRow&&)>& visit) {
  std::int64_t after = std::numeric_limits<std::int64_t>::min();
  for (;;) {
    const std::array<sql::Value, 2> where = {after, static_cast<std::int64_t>(page_jobs)};
    auto found = connection_->query(
        "SELECT job.number, id, priority, user, enqueued_us, deadline_us, max_attempts, base_us, cap_us, has_key, "
        "state, available_us, started_us, ended_us, sequence, end_order, fencing_token, failures, crashes, "
        "cancel_requested, worker, body.number, payload, texts, story.number, history, end_status, end_message, "
        "reference, result, progress_done, progress_total, progress_note FROM job LEFT JOIN body ON body.number = "
        "job.number LEFT JOIN story ON story.number = job.number WHERE job.number > $1 ORDER BY job.number LIMIT $2",
        where);
    if (!found) return explain(std::move(found).error(), "cannot be read");
    auto& rows = found.value();
    for (std::size_t at = 0; at < rows.rows.size(); ++at) {
      std::size_t column = 0;
      const auto integer = [&] { return rows.integer(at, column++); };
      const auto text = [&]() -> std::string {
        auto* words = std::get_if<std::string>(&rows.rows[at][column++]);
        return words == nullptr ? std::string() : std::move(*words);
      };
      JournalRow row;
      auto& job = row.job;
      bool fine = true;
      // What is out of its range is damage, and is not believed.
      const auto in = [&](std::int64_t low, std::int64_t high) {
        const auto value = integer();
        fine = fine && value >= low && value <= high;
        return value;
      };
      const auto name = [&] {
        auto words = text();
        fine = fine && check_name("name", words, true).has_value();
        return words;
      };
      constexpr auto any_time = std::int64_t{1} << 62;
      job.number = after = in(1, any_time);
      const auto id = parse_job_id(text());
      fine = fine && id.has_value() && !id.value().is_nil();
      if (id) job.id = id.value();
      job.priority = static_cast<Priority>(in(0, lane_count - 1));
      job.user = name();
      job.enqueued_us = in(0, any_time);
      job.deadline_us = in(std::numeric_limits<std::int64_t>::min(), any_time);
      job.retry.max_attempts = static_cast<std::uint32_t>(in(1, 1000));
      job.retry.base_us = in(0, max_delay_us);
      job.retry.cap_us = in(0, max_delay_us);
      job.has_key = in(0, 1) != 0;
      job.state = static_cast<JobState>(in(0, state_count - 1));
      job.available_us = in(0, any_time);
      job.started_us = in(0, any_time);
      job.ended_us = in(0, any_time);
      job.sequence = static_cast<std::uint64_t>(in(0, any_time));
      job.end_order = static_cast<std::uint64_t>(in(0, any_time));
      job.fencing_token = static_cast<std::uint64_t>(in(0, std::numeric_limits<std::uint32_t>::max() - 1));
      job.failures = static_cast<std::uint32_t>(in(0, std::numeric_limits<std::uint16_t>::max() - 1));
      job.crashes = static_cast<std::uint32_t>(in(0, std::numeric_limits<std::uint16_t>::max() - 1));
      job.cancel_requested = in(0, 1) != 0;
      job.worker = name();
      row.has_body = !rows.is_null(at, column++);
      row.payload = text();
      row.texts = text();
      const bool told = !rows.is_null(at, column++);
      if (told) {
        row.story = std::make_unique<JournalStory>();
        auto& story = *row.story;
        auto history = parse_history(text(), path_);
        fine = fine && history.has_value();
        if (history) story.history = std::move(*history);
        story.end_status = static_cast<Status>(in(0, 999));
        story.end_message = text();
        story.result.reference = text();
        story.result.bytes = text();
        story.progress.done = static_cast<std::uint64_t>(integer());
        story.progress.total = static_cast<std::uint64_t>(integer());
        story.progress.note = text();
      }
      if (!fine) return corrupt(fmt::format("job number {} has a value that no job has", job.number));
      GF_TRYV(visit(std::move(row)));
    }
    if (rows.rows.size() < page_jobs) return success();
  }
}

Result<void> Journal::keys(const std::function<Result<void>(JournalKey&&)>& visit) {
  std::int64_t after = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t page = 1000;
  for (;;) {
    const std::array<sql::Value, 2> where = {after, page};
    auto found = connection_->query(
        "SELECT number, name, id, scope, expires_us FROM key WHERE number > $1 ORDER BY number LIMIT $2", where);
    if (!found) return explain(std::move(found).error(), "cannot be read");
    const auto& rows = found.value();
    for (std::size_t at = 0; at < rows.rows.size(); ++at) {
      JournalKey key;
      key.number = after = rows.integer(at, 0);
      key.name = rows.text(at, 1);
      const auto id = parse_job_id(rows.text(at, 2));
      const auto scope = rows.integer(at, 3);
      key.expires_us = rows.integer(at, 4);
      if (key.number < 1 || !id || scope < 0 || scope > static_cast<std::int64_t>(KeyScope::until_finished) ||
          !check_name("key", key.name, false)) {
        return corrupt(fmt::format("key number {} has a value that no key has", key.number));
      }
      key.id = id.value();
      key.scope = static_cast<KeyScope>(scope);
      GF_TRYV(visit(std::move(key)));
    }
    if (rows.rows.size() < static_cast<std::size_t>(page)) return success();
  }
}

Result<void> Journal::write(const JournalBatch& batch, bool with_new) noexcept {
  try {
    auto written = write_all(batch, with_new);
    if (written) {
      if (!batch.gone.empty() && ++since_vacuum_ >= vacuum_every) give_back_pages();
      return written;
    }
    return explain(std::move(written).error(), "cannot be written");
  } catch (const std::bad_alloc&) {
    return Error{Status::out_of_host_memory, "out of memory", {}};
  }
}

Result<void> Journal::write_all(const JournalBatch& batch, bool with_new) {
  // Left open where there was no memory to roll back.
  if (connection_->in_transaction()) {
    GF_TRYV(connection_->execute("ROLLBACK"));
  }
  GF_TRY(auto transaction, sql::Transaction::begin(*connection_, "BEGIN IMMEDIATE"));
  auto& values = values_;
  for (const auto& entry : batch.entries) {
    const auto& job = entry.job;
    if (entry.is_new) {
      if (!with_new) continue;
      bind(values, job.number, to_text(job.id), static_cast<std::int64_t>(job.priority), job.user, job.enqueued_us,
           job.deadline_us, std::int64_t{job.retry.max_attempts}, job.retry.base_us, job.retry.cap_us,
           std::int64_t{job.has_key}, static_cast<std::int64_t>(job.state), job.available_us, stored(job.sequence));
      GF_TRYV(connection_->execute(
          "INSERT INTO job VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, $13, 0, 0, 0, 0, 0, '')",
          values));
      if (!entry.payload.empty() || !entry.texts.empty()) {
        bind(values, job.number, sql::Bytes{entry.payload}, sql::Bytes{entry.texts});
        GF_TRYV(connection_->execute("INSERT INTO body VALUES ($1, $2, $3)", values));
      }
      if (entry.key) {
        bind(values, entry.key->number, entry.key->name, to_text(entry.key->id),
             static_cast<std::int64_t>(entry.key->scope), entry.key->expires_us);
        GF_TRYV(connection_->execute("INSERT INTO key VALUES ($1, $2, $3, $4, $5)", values));
      }
      continue;
    }
    bind(values, job.number, static_cast<std::int64_t>(job.state), job.available_us, job.started_us, job.ended_us,
         stored(job.sequence), stored(job.end_order), stored(job.fencing_token), std::int64_t{job.failures},
         std::int64_t{job.crashes}, std::int64_t{job.cancel_requested}, job.worker, job.deadline_us);
    GF_TRYV(connection_->execute(
        "UPDATE job SET state = $2, available_us = $3, started_us = $4, ended_us = $5, sequence = $6, end_order = $7, "
        "fencing_token = $8, failures = $9, crashes = $10, cancel_requested = $11, worker = $12, deadline_us = $13 "
        "WHERE number = $1",
        values));
    if (entry.drops_payload) {
      bind(values, job.number);
      GF_TRYV(connection_->execute("UPDATE body SET payload = x'' WHERE number = $1", values));
    }
    if (entry.story) {
      const auto& story = *entry.story;
      bind(values, job.number, history_text(story.history), static_cast<std::int64_t>(story.end_status),
           story.end_message, sql::Bytes{story.result.reference}, sql::Bytes{story.result.bytes},
           stored(story.progress.done), stored(story.progress.total), story.progress.note);
      GF_TRYV(connection_->execute("INSERT OR REPLACE INTO story VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", values));
    }
  }
  for (const auto number : batch.gone) {
    bind(values, number);
    GF_TRYV(connection_->execute("DELETE FROM job WHERE number = $1", values));
    GF_TRYV(connection_->execute("DELETE FROM body WHERE number = $1", values));
    GF_TRYV(connection_->execute("DELETE FROM story WHERE number = $1", values));
  }
  for (const auto number : batch.gone_keys) {
    bind(values, number);
    GF_TRYV(connection_->execute("DELETE FROM key WHERE number = $1", values));
  }
  values.clear();
  auto totals = batch.totals;
  if (with_new) totals.accepted += batch.new_jobs;
  for (const auto total : totals_in_order) values.emplace_back(stored(totals.*total));
  values.emplace_back(batch.now_us);
  values.emplace_back(stored(batch.last_event));
  GF_TRYV(connection_->execute(
      "UPDATE head SET accepted = $1, duplicates = $2, rejected = $3, taken = $4, renewed = $5, done = $6, failed = "
      "$7, "
      "retried = $8, released = $9, recovered = $10, fenced_off = $11, cancelled = $12, expired = $13, died = $14, "
      "dropped = $15, requeued = $16, removed = $17, saved_us = $18, last_event = $19",
      values));
  return transaction.commit();
}

/// What was removed leaves empty pages, which the next jobs use; where they are most of the file, some go back to the
/// disk. What goes wrong here concerns no job.
void Journal::give_back_pages() {
  since_vacuum_ = 0;
  const auto free = connection_->query("PRAGMA freelist_count");
  const auto pages = connection_->query("PRAGMA page_count");
  if (!free || !pages || free.value().integer(0, 0) <= vacuum_pages ||
      free.value().integer(0, 0) * 2 < pages.value().integer(0, 0)) {
    return;
  }
  (void)connection_->execute(fmt::format("PRAGMA incremental_vacuum({})", vacuum_pages));
}

}  // namespace gf::queue
