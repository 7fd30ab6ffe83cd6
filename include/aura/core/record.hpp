// What a journal's stream holds: a versioned envelope around bytes that only their owner understands.
#pragma once

#include <aura/core/time.hpp>
#include <aura/core/trace.hpp>

#include <cstdint>
#include <string>

namespace aura {

/// One record. The journal stores it and never looks into the payload. A record's place in its stream, its version,
/// is its index from 0 and is not part of it.
struct Record {
  std::string type;                  ///< what the payload is ("saga"); short, so that it rarely allocates
  std::uint16_t schema = 1;          ///< the version of the payload's form; a reader refuses a newer one
  std::string encoding = "binary";   ///< how the payload is written ("binary", "json")
  WallTime at{};                     ///< when it was decided, on the writer's wall clock
  std::uint32_t attempt = 0;         ///< the attempt that it ends or begins, 0 where there is none
  TraceContext trace{};
  std::string payload{};

  friend bool operator==(const Record&, const Record&) = default;
};

}  // namespace aura
