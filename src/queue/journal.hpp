// The journal of the in-process queue: one SQLite file from which its jobs come back. What becomes of a job is the
// queue's business; here is only what was written, and how it is read.
#pragma once

#include "queue/journal_options.hpp"
#include "queue/queue.hpp"

#include "sql/sql.hpp"

#include "base/result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf::queue {

/// A job as the journal has it.
struct JournalJob {
  std::int64_t number = 0;  ///< The row's: rises with the jobs of a queue.
  JobId id;
  JobState state = JobState::waiting;
  Priority priority = Priority::normal;
  RetryPolicy retry;
  std::string user;
  std::string worker;
  std::int64_t enqueued_us = 0;  ///< As the next: of the queue's time, which is the Unix epoch's.
  std::int64_t available_us = 0;
  std::int64_t deadline_us = 0;
  std::int64_t started_us = 0;
  std::int64_t ended_us = 0;
  std::uint64_t sequence = 0;   ///< Its place among those that wait.
  std::uint64_t end_order = 0;  ///< Its place among those that are over.
  std::uint64_t fencing_token = 0;
  std::uint32_t failures = 0;
  std::uint32_t crashes = 0;
  bool cancel_requested = false;
  bool has_key = false;
};

/// What few jobs have, or only once they ran.
struct JournalStory {
  std::vector<Attempt> history;
  Progress progress;
  JobResult result;
  Status end_status = Status::ok;
  std::string end_message;
};

/// An idempotency key and who holds it.
struct JournalKey {
  std::int64_t number = 0;
  std::string name;
  JobId id;
  KeyScope scope = KeyScope::for_time;
  std::int64_t expires_us = 0;
};

/// One job's part of a batch: a new job, or what is new of one.
struct JournalEntry {
  JournalJob job;
  std::uint32_t slot = 0;    ///< The queue's own.
  std::uint8_t changes = 0;  ///< As the queue noted them.
  bool is_new = false;
  bool drops_payload = false;
  std::string_view payload;  ///< Of a new one, borrowed until it is written; as the next.
  std::string_view texts;    ///< Content type, key and tags, packed by the queue.
  std::optional<JournalKey> key;
  std::unique_ptr<JournalStory> story;
};

/// What goes into the journal in one transaction.
struct JournalBatch {
  std::vector<JournalEntry> entries;
  std::vector<std::int64_t> gone;  ///< Numbers of jobs.
  std::vector<std::int64_t> gone_keys;
  QueueTotals totals;  ///< Without the new jobs.
  std::uint64_t last_event = 0;
  std::int64_t now_us = 0;
  std::uint64_t new_jobs = 0;

  void clear();
};

/// What the journal says of the queue as a whole.
struct JournalHead {
  QueueTotals totals;
  std::uint64_t last_event = 0;
  std::int64_t saved_us = 0;  ///< The queue's time when it was last written.
};

/// A job, its payload and texts, which the visitor may keep, and its story.
struct JournalRow {
  JournalJob job;
  std::string payload;
  std::string texts;
  bool has_body = false;
  std::unique_ptr<JournalStory> story;
};

/// Threads: not synchronised; its owner guards it.
class Journal {
 public:
  static constexpr std::int64_t schema = 1;

  /// Opens the file for this process alone, and looks at all of its pages; nothing is written into one that exists.
  /// Errors: invalid_argument (path); locked, naming the process that holds it; unsupported_format for a file that is
  /// no queue's journal; schema_too_new; corrupt_file; unauthorised, disk_full, io_error.
  static Result<std::unique_ptr<Journal>> open(const JournalOptions& options);
  /// Writes what SQLite still has beside the file into it, where it was accepted.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  Result<JournalHead> head();
  /// All jobs by their number. Errors: corrupt_file; the visitor's.
  Result<void> jobs(const std::function<Result<void>(JournalRow&&)>& visit);
  Result<void> keys(const std::function<Result<void>(JournalKey&&)>& visit);
  /// What was read is believed: from now on the file is written.
  Result<void> accept();

  /// One transaction: all of the batch, or, without its new jobs, all the rest. Errors leave the file as it was:
  /// disk_full, io_error, unauthorised (read only), locked, corrupt_file, out_of_host_memory.
  Result<void> write(const JournalBatch& batch, bool with_new) noexcept;

  const std::string& path() const { return path_; }

 private:
  Journal(std::string path, std::unique_ptr<sql::Connection> connection, Durability durability)
      : path_(std::move(path)), connection_(std::move(connection)), durability_(durability) {}

  Error explain(Error error, std::string_view what) const;
  Error corrupt(std::string_view what) const;
  Result<void> check_file();
  Result<void> make();
  Result<void> write_all(const JournalBatch& batch, bool with_new);
  void give_back_pages();

  std::string path_;
  std::unique_ptr<sql::Connection> connection_;
  Durability durability_;
  std::uint32_t since_vacuum_ = 0;
  std::vector<sql::Value> values_;
};

}  // namespace gf::queue
