// A tool's parameters as one object's properties, which is what a call is held to.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace lares::daemon {

// `schema`, a JSON object, with all that a call may have among its own properties, also what stands
// there by a $ref, in an allOf, or in one of several alternatives; required is what every one of
// these requires, and is declared. Where it refers to itself a schema is looked at once.
nlohmann::ordered_json flat_schema(nlohmann::ordered_json schema);

// The $ref of `schema`, a JSON object, itself, where that leads nowhere within it: what a call may
// have is not known then. Empty: it leads somewhere, or there is none.
std::string lost_reference(const nlohmann::ordered_json& schema);

}  // namespace lares::daemon
