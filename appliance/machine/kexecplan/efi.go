package kexecplan

import "encoding/binary"

// EFI is what the next kernel must know to use the firmware's runtime. Its place
// in the address space can be set only once after power-on, so it stays where the
// first kernel put it.
type EFI struct {
	Vendor      uint64 // address of the firmware's name
	ConfigTable uint64 // address of the table of tables
	SMBIOS      uint64 // address, 0 if there is none
	Runtime     []EFIRegion
}

// EFIRegion is a piece of memory that the firmware's runtime uses
// (EFI_MEMORY_DESCRIPTOR of the UEFI specification).
type EFIRegion struct {
	Kind      uint32
	_         uint32
	Physical  uint64
	Virtual   uint64
	Pages     uint64 // of 4096 bytes
	Attribute uint64
}

const (
	efiRegionSize = 40
	efiSetupSize  = 96 // struct efi_setup_data of Linux: four u64, eight reserved

	// Offsets into efi_info, all u32: the loader's signature and the system
	// table's address stay as they are.
	efiRegionBytes = 8
	efiMapLow      = 16
	efiMapSize     = 20
	efiMapHigh     = 28
	efiInfoSize    = 32
)

func (e *EFI) regions() []byte {
	out, err := binary.Append(nil, binary.LittleEndian, e.Runtime)
	if err != nil { // its size is known
		panic(err)
	}
	return out
}

func (e *EFI) setup() []byte {
	out := make([]byte, efiSetupSize)
	binary.LittleEndian.PutUint64(out, e.Vendor)
	binary.LittleEndian.PutUint64(out[16:], e.ConfigTable)
	binary.LittleEndian.PutUint64(out[24:], e.SMBIOS)
	return out
}

// put writes the map that will lie at address at into efi_info, or takes all of
// it away where there is no runtime to go on with.
func (e *EFI) put(info []byte, at uint64) {
	if e == nil {
		clear(info[:efiInfoSize])
		return
	}
	le := binary.LittleEndian
	le.PutUint32(info[efiRegionBytes:], efiRegionSize)
	le.PutUint32(info[efiMapLow:], uint32(at))
	le.PutUint32(info[efiMapHigh:], uint32(at>>32))
	le.PutUint32(info[efiMapSize:], uint32(len(e.Runtime)*efiRegionSize))
}
