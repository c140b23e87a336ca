// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A PWM block without pins, for tests of whatever drives /sys/class/pwm: the kernel's own PWM core on top of a chip
 * that takes every period from 1 microsecond to 1 second and refuses all others, as real ones refuse theirs.
 *
 * By default it looks like the block of a Raspberry Pi 4; insmod pwm-sim.ko name=1f00098000.pwm channels=4 makes
 * it look like that of a Raspberry Pi 5. A channel that the kernel itself uses: busy=N.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pwm.h>

static char *name = "fe20c000.pwm";
module_param(name, charp, 0444);
static unsigned int channels = 2;
module_param(channels, uint, 0444);
static int busy = -1;
module_param(busy, int, 0444);

static struct platform_device *device;
static struct pwm_chip *chip;

static int pwm_sim_request(struct pwm_chip *chip, struct pwm_device *pwm)
{
	return pwm->hwpwm == busy ? -EBUSY : 0;
}

static int pwm_sim_apply(struct pwm_chip *chip, struct pwm_device *pwm, const struct pwm_state *state)
{
	if (state->period < NSEC_PER_USEC || state->period > NSEC_PER_SEC)
		return -EINVAL;
	return 0;
}

static const struct pwm_ops pwm_sim_ops = {
	.request = pwm_sim_request,
	.apply = pwm_sim_apply,
};

static int __init pwm_sim_init(void)
{
	int err;

	device = platform_device_register_simple(name, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	chip = pwmchip_alloc(&device->dev, channels, 0);
	if (IS_ERR(chip)) {
		err = PTR_ERR(chip);
		goto unregister;
	}
	chip->ops = &pwm_sim_ops;
	err = pwmchip_add(chip);
	if (!err)
		return 0;
	pwmchip_put(chip);
unregister:
	platform_device_unregister(device);
	return err;
}
module_init(pwm_sim_init);

static void __exit pwm_sim_exit(void)
{
	pwmchip_remove(chip);
	pwmchip_put(chip);
	platform_device_unregister(device);
}
module_exit(pwm_sim_exit);

MODULE_DESCRIPTION("PWM chip without hardware");
MODULE_LICENSE("Dual MIT/GPL");
