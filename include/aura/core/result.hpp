// What a call that can be expected to fail returns.
#pragma once

#include <aura/core/error.hpp>

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <stdexcept>

namespace aura {

/// An `Error` as an exception.
class ErrorException : public std::runtime_error {
 public:
  explicit ErrorException(const Error& error) : std::runtime_error(to_string(error)), error_(error) {}
  const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

/// A value or an `Error`. `value()` on an error throws `ErrorException`.
template <class T>
using Result = boost::system::result<T, Error>;

/// Found by ADL from `Result<T>::value()`.
[[noreturn]] inline void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw ErrorException(error);
}

}  // namespace aura
