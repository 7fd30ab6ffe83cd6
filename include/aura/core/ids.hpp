// Identifiers as types: a run's id is not a step's name, and neither is any string.
#pragma once

#include <aura/core/result.hpp>

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

inline constexpr std::size_t identifier_bytes_max = 200;

/// Null where `text` may be an identifier, else what is wrong with it: 1 to 200 bytes, printable ASCII, no space.
constexpr const char* identifier_fault(std::string_view text) noexcept {
  if (text.empty()) return "is empty";
  if (text.size() > identifier_bytes_max) return "is longer than 200 bytes";
  for (const char c : text)
    if (c <= ' ' || c > '~') return "has a character other than printable ASCII without spaces";
  return nullptr;
}

/// A string with a meaning. `Tag` has a `static constexpr std::string_view name`.
template <class Tag>
class Identifier {
 public:
  Identifier() = default;  ///< empty; no operation accepts it

  /// \throws std::invalid_argument where the text is no identifier. Use `parse` for text from outside.
  explicit Identifier(std::string text) : text_(std::move(text)) {
    if (const char* fault = identifier_fault(text_)) throw std::invalid_argument(fault_line(text_, fault));
  }

  /// core_errc::bad_identifier (permanent) where the text is no identifier.
  static Result<Identifier> parse(std::string_view text) {
    if (const char* fault = identifier_fault(text))
      return Error{core_errc::bad_identifier, ErrorClass::permanent, fault_line(text, fault)};
    Identifier id;
    id.text_ = text;
    return id;
  }

  const std::string& str() const noexcept { return text_; }
  bool empty() const noexcept { return text_.empty(); }
  friend bool operator==(const Identifier&, const Identifier&) = default;
  friend auto operator<=>(const Identifier&, const Identifier&) = default;

 private:
  static std::string fault_line(std::string_view text, const char* fault) {
    std::string line{Tag::name};
    line.append(" \"").append(text.substr(0, 60)).append(text.size() > 60 ? "…\" " : "\" ").append(fault);
    return line;
  }
  std::string text_;
};

struct run_id_tag {
  static constexpr std::string_view name = "run id";
};
/// Names one run of one saga, chosen by the host ("order-17"): starting it twice starts it once.
using RunId = Identifier<run_id_tag>;

struct holder_id_tag {
  static constexpr std::string_view name = "holder id";
};
/// Names one process (or worker) that drives runs: stable over its restarts, unlike any other's at the same time.
using HolderId = Identifier<holder_id_tag>;

/// Proves to storage and to participants who holds a run now: of two, the larger is the newer. 0 is "nobody".
enum class FencingToken : std::uint64_t {};

}  // namespace aura

template <class Tag>
struct std::hash<aura::Identifier<Tag>> {
  std::size_t operator()(const aura::Identifier<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
