// A job: what was asked, how it stands, and what has come of it so far.
#pragma once

#include "engine/engine.hpp"
#include "engine/model_slot.hpp"
#include "pipeline/backend_library.hpp"
#include "pipeline/model_folder.hpp"
#include "pipeline/request.hpp"
#include "pipeline/seam.hpp"
#include "queue/job.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gf::engine {

struct Job;

enum class JobKind { generate, load_ahead };

/// A job's wish to end, strongest last. Only ever raised.
enum class CancelWish : std::uint32_t { none = 0, after_image = 1, now = 2 };

/// How a job ended, before a wish to cancel is taken into account.
struct Outcome {
  JobState state = JobState::done;
  Error error{Status::ok, {}, {}};
};

/// Microseconds by stage.
struct StageTimes {
  std::int64_t queue_us = 0;
  std::int64_t load_us = 0;
  std::int64_t encode_us = 0;
  std::int64_t sample_us = 0;
  std::int64_t decode_us = 0;
};

/// What one image took.
struct ImageRecord {
  std::uint32_t steps = 0;
  std::int64_t sample_us = 0;
  std::int64_t decode_us = 0;
  std::optional<pipeline::SeamScore> seam;  ///< Of one that is to be tiled.
};

/// What an executor notes for the report.
struct RunRecord {
  std::string backend_name;
  std::string backend_version;
  std::string backend_build;  ///< JSON text.
  std::string backend_path;
  std::optional<gf_backend_model_info> model;
  std::vector<ImageRecord> images;
  std::uint32_t threads = 0;
  std::uint32_t executor = 0;
  bool model_was_loaded = false;          ///< Before the job came.
  std::uint64_t ledger_peak_bytes = 0;    ///< Of the device while the job ran, whoever held them.
  std::uint32_t pauses = 0;               ///< How often it gave its parts back between two steps, and waited for room.
  std::int64_t paused_us = 0;             ///< All of them.
  std::vector<std::string> memory_rungs;  ///< What was done against shortages, in order.
  std::uint64_t peak_resident_bytes = 0;
  std::vector<std::string> warnings;
  std::optional<gf_backend_conditioning_info> prompts;
};

/// What an executor has to tell of a job, until the desk has read it. Later news replace earlier ones of the same sort.
struct Mail {
  bool started = false;
  std::int64_t started_us = 0;
  bool has_progress = false;
  bool progress_is_later = false;  ///< Than the newest image.
  Stage stage = Stage::queued;
  std::uint32_t step = 0;
  std::uint32_t total = 0;
  std::uint32_t image = 0;
  std::vector<std::shared_ptr<const pipeline::Image>> images;
  std::vector<std::shared_ptr<const std::vector<float>>> latents;
  StageTimes times;
  std::shared_ptr<pipeline::Backend> backend;
  std::shared_ptr<const RunRecord> record;
  std::optional<Outcome> outcome;
};

/// What the intake thread has to do.
struct IntakeItem {
  enum class Kind { judge, cancel, drop_model };
  Kind kind = Kind::judge;
  std::shared_ptr<Job> job;
  std::shared_ptr<ModelSlot> slot;
};

/// The job itself. The table, the queue, the executor that runs it and calls that wait for it share it.
struct Job final : queue::Attachment {
  // Fixed at submit.
  JobId id;
  JobKind kind = JobKind::generate;
  std::uint64_t host_tag = 0;
  std::int64_t submitted_us = 0;
  std::uint64_t initial_latent_count = 0;
  queue::Priority priority = queue::Priority::normal;
  std::string user;
  std::string user_class;
  std::string idempotency_key;

  // Set by intake before the job is queued, fixed from then on. Until then guarded by the engine's lock.
  std::shared_ptr<pipeline::Request> request;
  std::shared_ptr<const pipeline::ModelDescription> model;
  std::shared_ptr<ModelSlot> slot;

  std::atomic<CancelWish> cancel{CancelWish::none};  // Raised under the engine's lock, read by anyone.

  // Guarded by the engine's lock.
  JobInfo info;
  bool accepted = false;
  std::optional<Error> error;
  std::vector<std::string> warnings;
  std::vector<std::shared_ptr<const pipeline::Image>> images;
  std::vector<std::shared_ptr<const std::vector<float>>> latents;
  std::shared_ptr<const RunRecord> record;
  std::condition_variable over;
  // Everything that is needed later to tell of the job is taken at submit, so that a job can always be ended.
  std::list<Event> spare_events;
  std::optional<std::list<Event>::iterator> started_event;  // Where it waits in the queue of events, if it does.
  std::optional<std::list<Event>::iterator> progress_event;
  std::optional<std::list<Event>::iterator> image_event;
  std::uint32_t mail_image = 0;  // The image that the present stage works on.
  std::list<IntakeItem> cancel_item;
  std::list<std::shared_ptr<Job>> finished_place;
  std::list<std::shared_ptr<Job>>::iterator finished_at;  // In the list of finished jobs, once it is there.

  // The desk's own: vectors with room for every image, which take turns with those in the mail.
  std::vector<std::shared_ptr<const pipeline::Image>> spare_images;
  std::vector<std::shared_ptr<const std::vector<float>>> spare_latents;

  // Guarded by the lock of the mail.
  Mail mail;
  bool mail_posted = false;
  std::shared_ptr<Job> next_mail;
};

}  // namespace gf::engine
