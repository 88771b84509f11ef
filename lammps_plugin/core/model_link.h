// The Python object through which a model calls the pair style, valid during one call of the model.

#ifndef FITSNAP_NN_MODEL_LINK_H
#define FITSNAP_NN_MODEL_LINK_H

#include "exchange.h"
#include "python_object.h"

namespace fitsnap_nn {

// Functions of the pair style that a model can call.
class ModelCalls {
 public:
  virtual Py_ssize_t atom_count() const = 0;
  virtual Py_ssize_t pair_count() const = 0;
  virtual double add_pair_energies(const double *energies) = 0;    // (pairs,); returns their sum on this rank
  virtual void add_pair_forces(const double *forces) = 0;          // (pairs, 3)
  virtual Py_ssize_t local_count() const = 0;
  virtual void add_virial(const double *virial) = 0;           // (6,) xx, yy, zz, xy, xz, yz
  virtual void add_atom_virials(const double *virials) = 0;    // (local atoms, 6)
  virtual void exchange(ExchangeKind kind, const FeatureMatrix &features) = 0;    // (atoms or pairs, width)

 protected:
  ~ModelCalls() = default;
};

// Owns the Python object for the duration of a scope. A model may keep a reference for longer: its calls then raise a
// Python exception instead of following a dangling pointer.
class ModelLink {
 public:
  explicit ModelLink(ModelCalls *calls);
  ~ModelLink();
  ModelLink(const ModelLink &) = delete;
  ModelLink &operator=(const ModelLink &) = delete;

  PyObject *get() const { return object_.get(); }

 private:
  PyRef object_;
};

}    // namespace fitsnap_nn

#endif
