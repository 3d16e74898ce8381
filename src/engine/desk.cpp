// The desk: keeps every job's account and its events, from what intake decides and executors report.
#include "engine/state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace gf::engine {

void Engine::State::emit(Job& job, EventType type, Status status) {
  Event event;
  event.type = type;
  event.job = job.id;
  event.host_tag = job.host_tag;
  event.stage = job.info.stage;
  event.step = job.info.step;
  event.total = job.info.total;
  event.status = status;
  if (status != Status::ok && job.error) event.retry_after_us = job.error->retry_after_us;
  event.at_us = since_open_us();
  auto* place = type == EventType::progress ? &job.progress_event
                : type == EventType::image  ? &job.image_event
                                            : nullptr;
  if (type == EventType::image) event.image = job.info.images_ready - 1;
  if (type == EventType::progress) event.image = job.mail_image;
  if (place != nullptr && *place) {
    // Only the newest is kept, and it takes its turn anew, so that it cannot overtake what came before it.
    ***place = event;
    events.splice(events.end(), events, **place);
  } else {
    // Taken at submit: one event of each sort, so that none can be lost for want of memory.
    const auto node = job.spare_events.begin();
    *node = event;
    events.splice(events.end(), job.spare_events, node);
    if (place != nullptr) *place = node;
    if (type == EventType::started) job.started_event = node;
  }
  events_changed.notify_one();
}

std::optional<Event> Engine::State::take_event() {
  if (events.empty()) return std::nullopt;
  const auto node = events.begin();
  const auto event = *node;
  if (event.type == EventType::started || event.type == EventType::progress || event.type == EventType::image) {
    if (const auto found = jobs.find(event.job); found != jobs.end()) {
      auto& job = *found->second;
      if (event.type == EventType::started) {
        job.started_event.reset();
      } else {
        (event.type == EventType::progress ? job.progress_event : job.image_event).reset();
        job.spare_events.splice(job.spare_events.end(), events, node);
        return event;
      }
    }
  }
  events.erase(node);
  return event;
}

void Engine::State::forget(Job& job) {
  for (auto* place : {&job.started_event, &job.progress_event, &job.image_event}) {
    if (!*place) continue;
    events.erase(**place);
    place->reset();
  }
  if (!job.idempotency_key.empty()) keys.erase(job.idempotency_key);
  jobs.erase(job.id);
}

void Engine::State::finish(const std::shared_ptr<Job>& job, Outcome outcome, std::list<std::shared_ptr<Job>>& gone) {
  auto& info = job->info;
  if (is_over(info.state)) return;
  if (job->cancel != CancelWish::none && outcome.state != JobState::cancelled) {
    // The wish was taken before the job was over, so that it is what counts.
    if (outcome.state == JobState::failed || outcome.state == JobState::rejected) {
      try {
        job->warnings.push_back(fmt::format("when it was cancelled it had failed: {}", outcome.error.message));
      } catch (...) {  // A warning that there is no memory for.
      }
    }
    outcome = Outcome{JobState::cancelled, {}};
  }
  if (outcome.state != JobState::rejected && !job->accepted) {
    job->accepted = true;
    ++counts.accepted;
    emit(*job, EventType::accepted);
  }
  if (info.state == JobState::running) --counts.running;
  info.state = outcome.state;
  info.total_us = clock.now_us() - job->submitted_us;
  auto type = EventType::done;
  switch (outcome.state) {
    case JobState::failed:
      type = EventType::failed;
      ++counts.failed;
      break;
    case JobState::rejected:
      type = EventType::rejected;
      ++counts.rejected;
      break;
    case JobState::cancelled:
      type = EventType::cancelled;
      ++counts.cancelled;
      info.status = Status::cancelled;
      break;
    default:
      ++counts.done;
      break;
  }
  if (type == EventType::failed || type == EventType::rejected) {
    errors->record(outcome.error, {.model = job->request ? std::string_view(job->request->model) : std::string_view()},
                   clock.unix_us());
    info.status = outcome.error.status;
    job->error = std::move(outcome.error);
  }
  emit(*job, type, info.status);
  job->over.notify_all();
  job->finished_at = job->finished_place.begin();
  finished.splice(finished.end(), job->finished_place);
  // What only the run needed need not be kept with the result.
  if (job->request) std::vector<float>().swap(job->request->initial_latents);
  job->slot.reset();
  while (finished.size() > options.retained_job_count) {
    forget(*finished.front());
    gone.splice(gone.end(), finished, finished.begin());
  }
}

void Engine::State::apply(const std::shared_ptr<Job>& job, Mail& mail, std::list<std::shared_ptr<Job>>& gone) {
  auto& info = job->info;
  if (mail.backend) backend_seen = std::move(mail.backend);
  if (mail.started) {
    info.state = JobState::running;
    ++counts.running;
    emit(*job, EventType::started);
  }
  info.queue_us = mail.times.queue_us;
  info.load_us = mail.times.load_us;
  info.encode_us = mail.times.encode_us;
  info.sample_us = mail.times.sample_us;
  info.decode_us = mail.times.decode_us;
  const auto tell_progress = [&] {
    info.stage = mail.stage;
    info.step = mail.step;
    info.total = mail.total;
    job->mail_image = mail.image;
    emit(*job, EventType::progress);
  };
  if (mail.has_progress && !mail.progress_is_later) tell_progress();
  if (!mail.images.empty()) {
    // Room for all of them was made at submit.
    for (auto& image : mail.images) job->images.push_back(std::move(image));
    for (auto& latents : mail.latents) job->latents.push_back(std::move(latents));
    info.images_ready = static_cast<std::uint32_t>(job->images.size());
    emit(*job, EventType::image);
  }
  if (mail.has_progress && mail.progress_is_later) tell_progress();
  if (mail.record) job->record = std::move(mail.record);
  if (mail.outcome) finish(job, std::move(*mail.outcome), gone);
}

void Engine::State::run_desk() {
  for (;;) {
    std::list<std::shared_ptr<Job>> gone;  // Destroyed without a lock: images and latents take a while.
    std::shared_ptr<Job> job;
    Mail mail;
    {
      std::unique_lock lock(mail_mutex);
      mail_changed.wait(lock, [this] { return first_mail || executors == 0; });
      if (!first_mail) return;
      job = std::move(first_mail);
      first_mail = std::move(job->next_mail);
      if (!first_mail) last_mail.reset();
      job->mail_posted = false;
      // What stays in the mail is what the executor adds to: its times, and the room that was made for images.
      std::swap(mail, job->mail);
      job->mail.times = mail.times;
      job->mail.images.swap(job->spare_images);
      job->mail.latents.swap(job->spare_latents);
    }
    {
      const std::lock_guard lock(mutex);
      apply(job, mail, gone);
    }
    mail.images.clear();
    mail.latents.clear();
    // The room goes back for the next time. The desk alone touches the spare ones.
    job->spare_images.swap(mail.images);
    job->spare_latents.swap(mail.latents);
  }
}

}  // namespace gf::engine
