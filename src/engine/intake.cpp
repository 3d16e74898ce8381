// Intake: judges what was submitted against the model that it names, and passes it on to the queue.
#include "engine/state.hpp"

#include <fmt/format.h>

#include <exception>
#include <new>
#include <utility>

namespace gf::engine {

std::shared_ptr<ModelSlot> Engine::State::slot_of(const std::string& name, const std::string& path) {
  auto& slot = models[path];
  if (!slot) slot = std::make_shared<ModelSlot>(name, path, *model_cache);
  return slot;
}

void Engine::State::end_waiting(const std::shared_ptr<Job>& job, Outcome outcome) noexcept {
  waiting.fetch_sub(1);
  std::list<std::shared_ptr<Job>> gone;
  const std::lock_guard lock(mutex);
  finish(job, std::move(outcome), gone);
}

void Engine::State::judge(const std::shared_ptr<Job>& job) noexcept {
  const auto refuse = [&](Error error) { end_waiting(job, Outcome{JobState::rejected, std::move(error)}); };
  try {
    if (job->cancel != CancelWish::none) {
      end_waiting(job, Outcome{JobState::cancelled, {}});
      return;
    }
    if (limiter && job->kind == JobKind::generate) {
      const auto answer = limiter->take({.user = job->user, .user_class = job->user_class});
      if (!answer) return refuse(answer.error());
      if (!answer.value().admitted) {
        Error error{Status::rate_limited,
                    fmt::format("the user \"{}\" submits too fast; try again in {} us", job->user,
                                answer.value().retry_after_us),
                    {}};
        error.retry_after_us = answer.value().retry_after_us;
        return refuse(std::move(error));
      }
    }
    const auto name = folders.resolve(job->request->model);
    if (!name) return refuse(name.error());
    const auto model = folders.inspect(name.value());
    if (!model) return refuse(model.error());
    // Latents are passed on and not copied: they may be a gigabyte. Who reports on a request does not look at them.
    auto latents = std::move(job->request->initial_latents);
    auto draft = *job->request;
    draft.initial_latents = std::move(latents);
    auto request = pipeline::with_defaults(std::move(draft), *model.value());
    if (!request) return refuse(request.error());
    auto judged = std::make_shared<pipeline::Request>(std::move(request).value());
    for (auto& lora : judged->loras) {
      auto path = folders.find_lora(lora.name, name.value());
      if (!path) return refuse(path.error());
      lora.path = std::move(path).value();
    }
    {
      const std::lock_guard lock(mutex);
      job->slot = slot_of(name.value().name, name.value().path);
      job->model = model.value();
      job->request.swap(judged);
      job->info.state = JobState::queued;
      if (job->kind == JobKind::generate) {
        job->info.width_px = job->request->width_px;
        job->info.height_px = job->request->height_px;
      }
      job->accepted = true;
      ++counts.accepted;
      emit(*job, EventType::accepted);
    }
    // `accepted` is told first: from here on an executor may tell more.
    queue::NewJob place;
    place.id = job->id;
    place.priority = job->priority;
    place.user = job->user;
    place.retry.max_attempts = 1;
    place.attachment = job;
    const auto pushed = queue->enqueue(std::move(place));
    if (!pushed) end_waiting(job, Outcome{JobState::failed, pushed.error()});
  } catch (const std::bad_alloc&) {
    end_waiting(job, Outcome{job->accepted ? JobState::failed : JobState::rejected,
                             Error{Status::out_of_host_memory, "out of memory", {}}});
  } catch (...) {
    end_waiting(job, Outcome{job->accepted ? JobState::failed : JobState::rejected,
                             Error{Status::internal, "unknown throw", {}}});
  }
}

void Engine::State::cancel_waiting(const std::shared_ptr<Job>& job) noexcept {
  if (queue->remove(job->id)) {
    end_waiting(job, Outcome{JobState::cancelled, {}});
    return;
  }
  // It runs, and may wait for somebody else's loading. (Or it is over, or not judged yet, and then sees the wish
  // itself.)
  std::shared_ptr<ModelSlot> slot;
  {
    const std::lock_guard lock(mutex);
    slot = job->slot;
  }
  if (slot) slot->wake();
}

void Engine::State::run_intake() {
  for (bool last = false; !last;) {
    std::list<IntakeItem> items;
    {
      std::unique_lock lock(mutex);
      intake_changed.wait(lock, [this] { return closing || !intake.empty(); });
      last = closing;
      // One at a time: the rest stays where a cancellation can overtake it.
      items.splice(items.end(), intake, intake.begin(), last ? intake.end() : std::next(intake.begin()));
    }
    for (auto& item : items) {
      switch (item.kind) {
        case IntakeItem::Kind::judge:
          judge(item.job);
          break;
        case IntakeItem::Kind::cancel:
          cancel_waiting(item.job);
          break;
        case IntakeItem::Kind::drop_model:
          item.slot->drop();
          break;
      }
    }
  }
  // The engine closes: nothing comes after this, and every job carries the wish to be cancelled.
  queue->close();
  while (const auto attachment = queue->remove_any()) {
    end_waiting(std::static_pointer_cast<Job>(*attachment), Outcome{JobState::cancelled, {}});
  }
  std::list<std::shared_ptr<ModelSlot>> waited_for;
  try {
    const std::lock_guard lock(mutex);
    for (const auto& [path, slot] : models) waited_for.push_back(slot);
  } catch (...) {  // Who waits for a loading then ends when that does.
  }
  for (const auto& slot : waited_for) slot->wake();
}

}  // namespace gf::engine
