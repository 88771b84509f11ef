#include "pair_mliappy.h"

#include "collective.h"
#include "descriptor_file.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "neighbor.h"
#include "universe.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <numeric>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// Environment variable that selects the SNAP kernel, for tests and benchmarks. Unset or empty: the best one that the
// processor supports.
constexpr const char *INSTRUCTION_SET = "FITSNAP_NN_SNAP_ISA";

// In place of a file: a Python script passes the model to lammps.mliap.load_model() before the run, as in LAMMPS.
constexpr const char *LATER = "LATER";

std::string requested_instruction_set() {
  const char *name = std::getenv(INSTRUCTION_SET);
  return name ? name : "";
}

}    // namespace

PairMliappy::PairMliappy(LAMMPS *lmp) : PairModel(lmp), neighbors_(lmp), exchange_(lmp, this) {
  comm_reverse = comm_reverse_off = Exchange::chunk;
}

void PairMliappy::settings(int narg, char **arg) {
  std::string descriptor_file;
  for (int i = 0; i < narg; i += 3) {
    const std::string keyword = arg[i];
    std::string *file = keyword == "model" ? &file_ : keyword == "descriptor" ? &descriptor_file : nullptr;
    if (i + 3 > narg || !file || !file->empty())
      error->all(FLERR, "Usage: pair_style mliap model mliappy FILE descriptor sna FILE");
    if (keyword == "descriptor" && std::string(arg[i + 1]) != "sna")
      error->all(FLERR, std::string("model mliappy supports descriptor sna only, not ") + arg[i + 1]);
    *file = arg[i + 2];
  }
  if (descriptor_file.empty())
    error->all(FLERR, "pair_style mliap model mliappy " + file_ + " requires descriptor sna FILE");
  load(descriptor_file);
}

void PairMliappy::load(const std::string &descriptor_file) {
  const DescriptorFile descriptor = read_descriptor_file(lmp, descriptor_file);
  elements_ = descriptor.elements;
  try {
    descriptor_ = std::make_unique<snap::Descriptor>(descriptor.options, requested_instruction_set());
  } catch (const std::invalid_argument &invalid) {
    error->all(FLERR, "descriptor sna " + descriptor_file + ": " + invalid.what());
  }
  neighbor_options_ = {0.0, false, 0};
  for (int element = 0; element < static_cast<int>(elements_.size()); ++element)
    neighbor_options_.cutoff = std::max(neighbor_options_.cutoff, descriptor_->cutoff(element, element));
  std::string units;
  call_on_all_ranks(lmp, [&] {
    const PyRef module = checked(PyImport_ImportModule("fitsnap_nn.plugin.descriptor_model"));
    model_ = checked(PyObject_CallMethod(module.get(), "load", "siiis", file_.c_str(), universe->nprocs,
                                         descriptor_->size(), static_cast<int>(elements_.size()),
                                         descriptor.text.c_str()));
    units = get_string(model_.get(), "units");
    reference_ = get_string(model_.get(), "reference");
    targets_.declare(model_.get());
  });
  if (file_ != LATER)
    check_units(units);
}

void PairMliappy::connect() {
  std::string units;
  call_on_all_ranks(lmp, [&] {
    checked(PyObject_CallMethod(model_.get(), "connect", nullptr));
    units = get_string(model_.get(), "units");
    reference_ = get_string(model_.get(), "reference");
    targets_.declare(model_.get());
  });
  check_units(units);
}

void PairMliappy::init_style_for(Pair *owner) {
  if (!force->newton_pair)
    error->all(FLERR, "pair_style mliap model mliappy requires newton on, because it adds forces to ghost atoms");
  neighbor->add_request(owner, NeighConst::REQ_FULL);
  if (file_ == LATER)
    connect();
  check_reference();
}

double PairMliappy::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "All pair coeffs are not set");
  return descriptor_->cutoff(element_of_[i], element_of_[j]);
}

void PairMliappy::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  targets_.invalidate();
  const int excluded = excluded_atoms(false);
  call_on_all_ranks(lmp, [this, excluded] {
    find_neighbors(excluded);
    call_model();
    check_results();
  });
  // Outside call_on_all_ranks: no Python is involved, so other threads may take the GIL.
  descriptor_->forces(beta_.data(), forces_.data());
  add_results();
  if (vflag_fdotr)
    virial_fdotr_compute();
}

void PairMliappy::find_neighbors(int excluded) {
  neighbors_.build(*list, element_of_, excluded, neighbor_options_);
  const int centres = neighbors_.centres();
  const int *counts = neighbors_.centre_pairs.data();
  first_.assign(1 + centres, 0);
  std::partial_sum(counts, counts + centres, first_.begin() + 1);
  forces_.resize(3 * std::size_t(neighbors_.pairs()));
}

// A rank without atoms does not call the model: models need not support empty arrays.
void PairMliappy::call_model() {
  const int count = neighbors_.centres();
  const Py_ssize_t values = Py_ssize_t(count) * descriptor_->size();
  energies_.reserve(count);
  components_.reserve(values);
  beta_.reserve(values);
  descriptor_->load({count, neighbors_.centre_elements.data(), first_.data(), neighbors_.pair_elements.data(),
                     neighbors_.vectors.data()});
  if (count == 0)
    return;
  descriptor_->components(components_.data());
  const PyRef elements = neighbors_.centre_elements.rows(count), components = components_.rows(values);
  const PyRef beta = beta_.rows(values), energies = energies_.rows(count);
  checked(PyObject_CallMethod(model_.get(), "compute", "OOOO", elements.get(), components.get(), beta.get(),
                              energies.get()));
}

// One sum per atom finds NaN and infinity in the energy and in any beta.
void PairMliappy::check_results() const {
  for (int n = 0; n < neighbors_.centres(); ++n) {
    const double *beta = beta_.data() + std::ptrdiff_t(n) * descriptor_->size();
    double sum = energies_.data()[n];
    for (int k = 0; k < descriptor_->size(); ++k)
      sum += beta[k];
    if (!std::isfinite(sum))
      throw std::runtime_error(not_finite_message("the energy",
                                                  neighbors_.tags.data()[neighbors_.centre_atoms.data()[n]],
                                                  neighbors_.centre_elements.data()[n]));
  }
}

void PairMliappy::add_results() {
  double **f = atom->f;
  const std::vector<int> &atom_of = neighbors_.atom_of();
  for (int n = 0; n < neighbors_.centres(); ++n) {
    const int i = atom_of[neighbors_.centre_atoms.data()[n]];
    for (int k = first_[n]; k < first_[n + 1]; ++k) {
      const int j = atom_of[neighbors_.pair_j.data()[k]];
      const double *dedr = &forces_[3 * std::size_t(k)], *d = neighbors_.vectors.data() + 3 * std::ptrdiff_t(k);
      for (int axis = 0; axis < 3; ++axis) {
        f[i][axis] += dedr[axis];
        f[j][axis] -= dedr[axis];
      }
      if (vflag_either)
        ev_tally_xyz(i, j, atom->nlocal, force->newton_pair, 0.0, 0.0, dedr[0], dedr[1], dedr[2], -d[0], -d[1], -d[2]);
    }
    if (eflag_global)
      eng_vdwl += energies_.data()[n];
    if (eflag_atom)
      eatom[i] += energies_.data()[n];
  }
}

double PairMliappy::memory_usage() {
  const double vectors = static_cast<double>(first_.capacity() * sizeof(int) + forces_.capacity() * sizeof(double));
  return Pair::memory_usage() + vectors + neighbors_.bytes() + components_.bytes() + beta_.bytes() + energies_.bytes() +
         descriptor_->memory_usage() + targets_.bytes() + double(deviations_.capacity() * sizeof(double));
}

}    // namespace fitsnap_nn
