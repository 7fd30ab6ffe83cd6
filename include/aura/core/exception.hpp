// A thrown exception as an error: what a user's callback throws is an outcome.
#pragma once

#include <aura/core/result.hpp>

#include <boost/system/system_error.hpp>

#include <exception>
#include <string>
#include <string_view>

namespace aura {

/// The error of the exception being handled; call it inside a `catch`. An `ErrorException` gives its own error. Of
/// others nobody knows whether the work took effect: an aborted operation is `cancelled`, a timed out one `timeout`,
/// the rest `transient`. `who` names the culprit ("step charge").
inline Error error_of_current_exception(std::string_view who) {
  const auto line = [&](const char* what) { return std::string(who) + " threw: " + what; };
  try {
    throw;
  } catch (const ErrorException& thrown) {
    return thrown.error();
  } catch (const boost::system::system_error& thrown) {
    if (thrown.code() == boost::system::errc::operation_canceled)
      return Error{core_errc::cancelled, ErrorClass::cancelled, std::string(who) + " was cancelled"};
    if (thrown.code() == boost::system::errc::timed_out)
      return Error{core_errc::timed_out, ErrorClass::timeout, line(thrown.what())};
    return Error{core_errc::exception, ErrorClass::transient, line(thrown.what())};
  } catch (const std::exception& thrown) {
    return Error{core_errc::exception, ErrorClass::transient, line(thrown.what())};
  } catch (...) {
    return Error{core_errc::exception, ErrorClass::transient, line("something that is no std::exception")};
  }
}

}  // namespace aura
