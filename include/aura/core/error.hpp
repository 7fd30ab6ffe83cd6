// What went wrong, in a form that can be matched, printed, and written to disk or wire.
#pragma once

#include <aura/core/time.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

namespace aura {

/// What the one who gets an error may do about it.
enum class ErrorClass : std::uint8_t {
  transient,  ///< may go away by itself: worth retrying. Whether the effect happened is unknown.
  permanent,  ///< will not go away by itself. The one who reports it says: nothing happened.
  timeout,    ///< did not answer in time. Whether the effect happened is unknown.
  cancelled,  ///< was told to stop. Whether the effect happened is unknown.
  rejected,   ///< was refused before it began (overload, breaker, limit): nothing happened.
};

/// The lower-case word for a class ("transient"), as it is printed.
constexpr std::string_view to_string(ErrorClass error_class) noexcept {
  switch (error_class) {
    case ErrorClass::transient: return "transient";
    case ErrorClass::permanent: return "permanent";
    case ErrorClass::timeout: return "timeout";
    case ErrorClass::cancelled: return "cancelled";
    case ErrorClass::rejected: return "rejected";
  }
  return "unknown";
}

/// True where the work that failed with this class may have taken effect all the same, so that a compensation
/// or a retry has to reckon with it.
constexpr bool effect_unknown(ErrorClass error_class) noexcept {
  return error_class == ErrorClass::transient || error_class == ErrorClass::timeout ||
         error_class == ErrorClass::cancelled;
}

/// A code enumeration takes part by an overload `error_domain(E) -> std::string_view` beside it, found by ADL.
template <class E>
concept error_code_enum = std::is_enum_v<E> && requires(E code) {
  { error_domain(code) } -> std::convertible_to<std::string_view>;
};

/// An error: domain, code in that domain, class, and one line that names the culprit.
///
/// Made from literals (`Error::fixed`) it allocates nothing, which is what hot paths use. Made with text of its own
/// it makes one allocation; a copy shares it. Copying and moving never throw. Safe to read from many threads.
class Error {
 public:
  /// "no error" does not exist: a default-made one is an internal error that names itself.
  Error() noexcept : Error(fixed("aura", 0, ErrorClass::permanent, "an Error that nobody filled in")) {}

  /// With a message of its own. `domain` is copied.
  Error(std::string_view domain, std::int32_t code, ErrorClass error_class, std::string message)
      : text_(std::make_shared<const Text>(Text{std::string(domain), std::move(message)})),
        code_(code),
        class_(error_class) {
    domain_ = text_->domain;
    message_ = text_->message;
  }

  template <error_code_enum Code>
  Error(Code code, ErrorClass error_class, std::string message)
      : Error(error_domain(code), static_cast<std::int32_t>(code), error_class, std::move(message)) {}

  /// From string literals: allocates nothing. The views must outlive every copy.
  static Error fixed(std::string_view domain, std::int32_t code, ErrorClass error_class,
                     std::string_view message) noexcept {
    Error error{Raw{}};
    error.domain_ = domain;
    error.message_ = message;
    error.code_ = code;
    error.class_ = error_class;
    return error;
  }

  template <error_code_enum Code>
  static Error fixed(Code code, ErrorClass error_class, std::string_view message) noexcept {
    return fixed(error_domain(code), static_cast<std::int32_t>(code), error_class, message);
  }

  std::string_view domain() const noexcept { return domain_; }
  std::int32_t code() const noexcept { return code_; }
  ErrorClass error_class() const noexcept { return class_; }
  /// One line, without a full stop at its end.
  std::string_view message() const noexcept { return message_; }

  /// When it is worth trying again, from now on; zero where that is not known. Rejections give it.
  Duration retry_after() const noexcept { return retry_after_; }
  Error with_retry_after(Duration span) && noexcept {
    retry_after_ = span;
    return std::move(*this);
  }

  template <error_code_enum Code>
  bool is(Code code) const noexcept {
    return code_ == static_cast<std::int32_t>(code) && domain_ == error_domain(code);
  }

  /// Equal in everything but `retry_after`, which is advice.
  friend bool operator==(const Error& a, const Error& b) noexcept {
    return a.code_ == b.code_ && a.class_ == b.class_ && a.domain_ == b.domain_ && a.message_ == b.message_;
  }

 private:
  struct Text {
    std::string domain;
    std::string message;
  };
  struct Raw {};
  explicit Error(Raw) noexcept {}

  std::string_view domain_;
  std::string_view message_;
  std::shared_ptr<const Text> text_;
  Duration retry_after_{};
  std::int32_t code_ = 0;
  ErrorClass class_ = ErrorClass::permanent;
};

/// Codes of the domain "core".
enum class core_errc : std::int32_t {
  bad_identifier = 1,
  bad_encoding = 2,     ///< bytes or text that do not parse
  too_large = 3,        ///< over a stated limit
  newer_format = 4,     ///< written by a later version of this library
  exception = 5,        ///< a user's callback threw
  timed_out = 6,
  cancelled = 7,
  retry_budget = 8,     ///< the retry budget is spent
};
constexpr std::string_view error_domain(core_errc) noexcept { return "core"; }

/// "journal/3 permanent: …": for logs and for people.
inline std::string to_string(const Error& error) {
  std::string line;
  line.append(error.domain()).append("/").append(std::to_string(error.code()));
  line.append(" ").append(to_string(error.error_class())).append(": ").append(error.message());
  return line;
}

}  // namespace aura
