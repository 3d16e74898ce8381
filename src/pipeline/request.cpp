#include "pipeline/request.hpp"

#include "base/utf8.hpp"
#include "pipeline/samplers.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <tuple>
#include <utility>

namespace gf::pipeline {
namespace {

Error invalid(std::string message) { return Error{Status::invalid_argument, std::move(message), {}}; }

Result<void> check_range(std::string_view field, std::uint32_t value, std::uint32_t low, std::uint32_t high) {
  if (value != 0 && (value < low || value > high)) {
    return invalid(fmt::format("{} is {}; it must be {} to {}, or 0 for the default", field, value, low, high));
  }
  return success();
}

/// Text that may cross the ABI again: well-formed UTF-8 of a bounded length, without a NUL that C would stop at.
Result<void> check_text(std::string_view field, std::string_view text, std::uint64_t limit_bytes) {
  if (text.size() > limit_bytes) {
    return Error{Status::payload_too_large,
                 fmt::format("{} has {} bytes; at most {} are taken", field, text.size(), limit_bytes),
                 {}};
  }
  if (const auto bad = first_invalid_utf8(text)) {
    return invalid(fmt::format("{} is not UTF-8: byte {} is 0x{:02x}", field, *bad,
                               static_cast<unsigned>(static_cast<unsigned char>(text[*bad]))));
  }
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    return invalid(fmt::format("{} holds a NUL at byte {}", field, nul));
  }
  return success();
}

Result<std::optional<std::string>> copied(std::string_view field, const std::optional<std::string_view>& text) {
  if (!text) return std::optional<std::string>{};
  GF_TRYV(check_text(field, *text, max_prompt_bytes));
  return std::optional<std::string>(*text);
}

Result<std::vector<float>> copied_latents(const RequestDraft& draft) {
  if (draft.initial_latents == nullptr) {
    if (draft.initial_latent_count == 0) return std::vector<float>{};
    return invalid(fmt::format("initial_latent_count is {}, but initial_latents is NULL", draft.initial_latent_count));
  }
  if (draft.initial_latent_count == 0) return invalid("initial_latent_count is 0, but initial_latents is set");
  if (draft.initial_latent_count > max_initial_latents) {
    return Error{Status::payload_too_large,
                 fmt::format("initial_latent_count is {}; at most {} are taken", draft.initial_latent_count,
                             max_initial_latents),
                 {}};
  }
  std::vector<float> values(draft.initial_latents, draft.initial_latents + draft.initial_latent_count);
  // The copy is what is checked: the caller's floats may change while we look.
  for (std::size_t at = 0; at < values.size(); ++at) {
    if (!std::isfinite(values[at])) {
      return invalid(fmt::format("initial_latents[{}] is {}; all must be finite", at, values[at]));
    }
  }
  return values;
}

/// A name of one folder, so that it cannot lead out of the folders that it is looked for in; or a path, where that is
/// allowed. The copy is the answer.
Result<std::string> check_reference(std::string_view field, std::string_view reference, bool allow_paths) {
  GF_TRYV(check_text(field, reference, max_model_bytes));
  if (reference.front() == '/') {
    if (allow_paths) return std::string(reference);
    return Error{
        Status::unauthorised,
        fmt::format("{} is the path {}; the engine takes names only, unless its option allow_model_paths is set", field,
                    shown(reference)),
        {}};
  }
  if (reference == "." || reference == ".." || reference.find_first_of("/\\") != std::string_view::npos) {
    return invalid(fmt::format("{} is {}; it must be a name without \"/\" and \"\\\", or an absolute path", field,
                               shown(reference)));
  }
  return std::string(reference);
}

Result<void> add_lora(std::string_view field, std::string_view name, double scale, bool allow_paths,
                      std::vector<LoraUse>& loras) {
  if (!(scale >= -10 && scale <= 10)) {
    return invalid(fmt::format("the scale of {} {} is {}; it must be -10 to 10", field, shown(name), scale));
  }
  if (loras.size() == max_loras) return invalid(fmt::format("more than {} LoRA files are asked for", max_loras));
  if (name.empty()) return invalid(fmt::format("{} is empty; it must name a LoRA", field));
  GF_TRY(auto checked, check_reference(field, name, allow_paths));
  loras.push_back({std::move(checked), scale, {}});
  return success();
}

/// Takes "<lora:name>" and "<lora:name:0.8>" out of a prompt, as webui writes them. What only looks like a tag stays.
Result<std::string> without_lora_tags(std::string_view prompt, bool allow_paths, std::vector<LoraUse>& loras) {
  constexpr std::string_view opening = "<lora:";
  std::string out;
  for (;;) {
    const auto begin = prompt.find(opening);
    const auto end = begin == std::string_view::npos ? begin : prompt.find('>', begin);
    if (end == std::string_view::npos) break;
    out += prompt.substr(0, begin);
    auto name = prompt.substr(begin + opening.size(), end - begin - opening.size());
    double scale = 1;
    if (const auto colon = name.find(':'); colon != std::string_view::npos) {
      const auto digits = name.substr(colon + 1);
      const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), scale);
      if (error != std::errc() || stop != digits.data() + digits.size()) {
        return invalid(fmt::format("the prompt's tag {} has no number for its scale; write <lora:name:0.8>",
                                   shown(prompt.substr(begin, end - begin + 1))));
      }
      name = name.substr(0, colon);
    }
    GF_TRYV(add_lora("the prompt's LoRA", name, scale, allow_paths, loras));
    prompt.remove_prefix(end + 1);
  }
  out += prompt;
  // A tag stands between blanks or commas; the ends must not keep what separated it.
  if (!loras.empty()) {
    const auto first = out.find_first_not_of(" ,");
    const auto last = out.find_last_not_of(" ,");
    out = first == std::string::npos ? std::string() : out.substr(first, last - first + 1);
  }
  return out;
}

/// The picture that a run begins from, and what of it is painted anew.
Result<void> take_images(const RequestDraft& draft, Request& request) {
  if (!draft.init_image) {
    if (draft.mask) return invalid("mask is set, but init_image is NULL");
    if (draft.strength != 0) {
      return invalid(fmt::format("strength is {}, but init_image is NULL", draft.strength));
    }
    return success();
  }
  if (!(draft.strength >= 0 && draft.strength <= 1)) {
    return invalid(
        fmt::format("strength is {}; it must be above 0 and at most 1, or 0 for the default", draft.strength));
  }
  request.strength = draft.strength == 0 ? default_strength : draft.strength;
  request.init_image = draft.init_image;
  const auto& image = *draft.init_image;
  for (auto [field, side, own] : {std::tuple("width_px", &request.width_px, image.width),
                                  std::tuple("height_px", &request.height_px, image.height)}) {
    if (*side == 0) *side = own;
    if (*side != own) {
      return invalid(fmt::format("{} is {}, and the init image's is {}; they must be the same", field, *side, own));
    }
  }
  GF_TRYV(check_range("the init image's width", image.width, 8, 8192));
  GF_TRYV(check_range("the init image's height", image.height, 8, 8192));
  if (!draft.mask) return success();
  const auto& mask = *draft.mask;
  if (mask.width != image.width || mask.height != image.height) {
    return invalid(fmt::format("the mask has {} x {} pixels, the init image {} x {}; they must be the same", mask.width,
                               mask.height, image.width, image.height));
  }
  auto bytes = std::make_shared<std::vector<std::uint8_t>>();
  bytes->reserve(mask.rgba.size() / 4);
  for (std::size_t at = 0; at < mask.rgba.size(); at += 4) bytes->push_back(mask.rgba[at]);
  request.mask = std::move(bytes);
  return success();
}

}  // namespace

Result<std::string> check_model_reference(std::optional<std::string_view> model, bool allow_model_paths) {
  if (!model || model->empty()) return invalid("model is not set; it must name a model");
  return check_reference("model", *model, allow_model_paths);
}

Result<Request> make_request(const RequestDraft& draft, bool allow_model_paths, std::uint64_t random) {
  GF_TRYV(check_range("width_px", draft.width_px, 8, 8192));
  GF_TRYV(check_range("height_px", draft.height_px, 8, 8192));
  GF_TRYV(check_range("steps", draft.steps, 1, 1000));
  GF_TRYV(check_range("image_count", draft.image_count, 1, 256));
  // Written so that NaN fails too.
  if (!(draft.cfg_scale == 0 || (draft.cfg_scale >= 1 && draft.cfg_scale <= 100))) {
    return invalid(fmt::format("cfg_scale is {}; it must be 1 to 100, or 0 for the default", draft.cfg_scale));
  }
  if (!(draft.guidance_rescale >= 0 && draft.guidance_rescale <= 1)) {
    return invalid(fmt::format("guidance_rescale is {}; it must be 0 to 1", draft.guidance_rescale));
  }

  Request request;
  GF_TRY(request.model, check_model_reference(draft.model, allow_model_paths));
  if (draft.prompt) {
    GF_TRYV(check_text("prompt", *draft.prompt, max_prompt_bytes));
    GF_TRY(request.prompt, without_lora_tags(*draft.prompt, allow_model_paths, request.loras));
    if (!request.loras.empty()) request.prompt_as_given = *draft.prompt;
  }
  GF_TRY(request.prompt_2, copied("prompt_2", draft.prompt_2));
  GF_TRY(request.negative_prompt, copied("negative_prompt", draft.negative_prompt));
  GF_TRY(request.negative_prompt_2, copied("negative_prompt_2", draft.negative_prompt_2));
  if (draft.schedule && !draft.schedule->empty()) {
    GF_TRY(const auto schedule, find_schedule(*draft.schedule));
    request.schedule = schedule;
  }
  if (draft.sampler && !draft.sampler->empty()) {
    GF_TRY(const auto choice, find_sampler(*draft.sampler));
    request.sampler = choice.sampler;
    if (!choice.schedule.empty()) {
      if (!request.schedule.empty() && request.schedule != choice.schedule) {
        return invalid(fmt::format("sampler is {}, but schedule is {}; give one schedule", shown(*draft.sampler),
                                   shown(*draft.schedule)));
      }
      request.schedule = choice.schedule;
    }
  }
  GF_TRY(request.initial_latents, copied_latents(draft));
  request.keep_latents = draft.keep_latents;
  request.width_px = draft.width_px;
  request.height_px = draft.height_px;
  request.steps = draft.steps;
  request.image_count = draft.image_count == 0 ? 1 : draft.image_count;
  request.cfg_scale = draft.cfg_scale;
  request.guidance_rescale = draft.guidance_rescale;
  request.seed = draft.random_seed ? random & 0xFFFF'FFFF : draft.seed;
  request.host_tag = draft.host_tag;
  request.original_width_px = draft.original_width_px;
  request.original_height_px = draft.original_height_px;
  request.target_width_px = draft.target_width_px;
  request.target_height_px = draft.target_height_px;
  request.crop_left_px = draft.crop_left_px;
  request.crop_top_px = draft.crop_top_px;
  for (std::size_t index = 0; index < draft.loras.size(); ++index) {
    const auto& [name, scale] = draft.loras[index];
    GF_TRYV(add_lora(fmt::format("lora_names[{}]", index), name.value_or(""), scale, allow_model_paths, request.loras));
  }
  request.lora_lenient = draft.lora_lenient;
  request.memory_may_change_pixels = draft.memory_may_change_pixels;
  if (draft.clip_skip > 64) {
    return invalid(fmt::format("clip_skip is {}; it must be 0 to 64", draft.clip_skip));
  }
  request.clip_skip = draft.clip_skip;
  if (!(draft.eta >= 0 && draft.eta <= 1)) {
    return invalid(fmt::format("eta is {}; it must be 0 to 1", draft.eta));
  }
  request.eta = draft.eta;
  if (draft.noise > static_cast<std::uint32_t>(NoiseKind::philox)) {
    return Error{Status::unsupported, fmt::format("noise is {}; this version knows 0 and 1", draft.noise), {}};
  }
  request.noise = static_cast<NoiseKind>(draft.noise);
  if (draft.prompt_syntax > static_cast<std::uint32_t>(PromptSyntax::plain)) {
    return Error{
        Status::unsupported, fmt::format("prompt_syntax is {}; this version knows 0 and 1", draft.prompt_syntax), {}};
  }
  request.prompt_syntax = static_cast<PromptSyntax>(draft.prompt_syntax);
  if (draft.long_prompt > static_cast<std::uint32_t>(LongPrompt::refuse)) {
    return Error{
        Status::unsupported, fmt::format("long_prompt is {}; this version knows 0 to 2", draft.long_prompt), {}};
  }
  request.long_prompt = static_cast<LongPrompt>(draft.long_prompt);
  if (draft.tile > 3) {
    return Error{Status::unsupported, fmt::format("tile is {}; this version knows 0 to 3", draft.tile), {}};
  }
  request.tile_x = (draft.tile & 1) != 0;
  request.tile_y = (draft.tile & 2) != 0;
  // Taken apart when the job runs; that they can be is known now.
  for (const auto& [field, text] : request.prompts()) {
    if (text == nullptr) continue;
    GF_TRYV(parse_prompt(field, *text, request.prompt_syntax));
  }
  GF_TRYV(take_images(draft, request));
  return request;
}

}  // namespace gf::pipeline
