// Where LAMMPS enters the plugin.

#include "guards.h"
#include "pair_mliap_dispatch.h"

#include "lammps.h"

#include <cstdlib>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// What a plugin tells LAMMPS about a style, as the section "Writing plugins" of its manual describes it: the header of
// LAMMPS that declares it is not installed.
struct StyleDescription {
  const char *lammps_version;
  const char *category;
  const char *name;
  const char *info;
  const char *author;
  void *creator;
  void *handle;
};
using RegisterStyle = void(StyleDescription *, void *);

// Environment variable by which an input script, such as the .mod files of fitsnap_nn, can tell that `mliap` is ours.
constexpr const char *LOADED = "FITSNAP_NN_PLUGIN_LOADED";

Pair *create_pair(LAMMPS *lmp) {
  return new PairMLIAPDispatch(lmp);
}

bool overrides_built_in() {
  const char *choice = std::getenv("FITSNAP_NN_PLUGIN");
  return !choice || std::string(choice) != "off";
}

void register_style(LAMMPS *lmp, void *handle, RegisterStyle *register_with_lammps, const char *name) {
  StyleDescription style = {lmp->version, "pair",
                            name,         "pair style mliap with models in Python",
                            "fitsnap_nn", reinterpret_cast<void *>(&create_pair),
                            handle};
  register_with_lammps(&style, lmp);
}

}    // namespace
}    // namespace fitsnap_nn

FITSNAP_NN_EXPORT void lammpsplugin_init(void *lammps, void *handle, void *registrar) {
  using namespace fitsnap_nn;
  std::string reason = why_not_loadable(lammps);
  if (!reason.empty()) {
    print_refusal(lammps, reason);
    return;
  }
  auto lmp = static_cast<LAMMPS *>(lammps);
  auto register_with_lammps = reinterpret_cast<RegisterStyle *>(registrar);
  auto &creators = *lmp->force->pair_map;
  auto found = creators.find("mliap");
  if (found != creators.end() && found->second != &create_pair)
    PairMLIAPDispatch::built_in = found->second;
  if (overrides_built_in()) {
    register_style(lmp, handle, register_with_lammps, "mliap");
    setenv(LOADED, "1", 1);
  }
  register_style(lmp, handle, register_with_lammps, "mliap/py");
}
