#pragma once

#include "support/catch.hpp"
#include "support/third_party.hpp"
